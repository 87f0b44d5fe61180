"""`lenet clean`: what of the run folders nobody needs, said first and deleted when told so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lenet.core.atomic_io import half_written, refuse_links, remove
from lenet.core.errors import DamagedError, LenetError, UnreadableError
from lenet.core.file_lock import is_held, locked_if_free
from lenet.core.project import SWEEP_LOCK, Project
from lenet.runs.run_dir import DAMAGED, FAILED, FINISHED, KILLED, RunDir, all_runs
from lenet.runs.table import read_row

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Removable:
    """Something that can be deleted, and why.

    Attributes:
        path: the file or folder.
        reason: as people are told it.
        run: the run it belongs to, if it belongs to one.
        stamp: when that run was last told of, in nanoseconds.
    """

    path: Path
    reason: str
    run: RunDir | None = None
    stamp: int = 0

    @property
    def size(self) -> int:
        """Its size in bytes."""
        files = [self.path] if self.path.is_file() else [path for path in self.path.rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files)


def find_removable(project: Project, also_killed: bool = False) -> list[Removable]:
    """Return what can go: failed and damaged runs, checkpoints of finished ones, partial files, ended sweeps.

    A run that is being trained is left alone, and so is one that cannot be read now; killed runs can go on and are kept
    unless `also_killed`.
    """
    free = [folder for folder in all_runs(project) if not is_held(folder.lock)]
    waste = [item for folder in free for item in _waste_of(folder, also_killed)]
    return waste + [Removable(path, "ended sweep") for path in _ended_sweeps(project)]


def _waste_of(folder: RunDir, also_killed: bool) -> list[Removable]:
    try:
        folder.check_readable()
    except UnreadableError:
        return []
    stamp, state = _stamp(folder), read_row(folder).state
    if state in {FAILED, DAMAGED} or (state == KILLED and also_killed):
        return [Removable(folder.path, f"{state.lower()} run {_name(folder)}", folder, stamp)]
    waste = [Removable(path, "partial file", folder, stamp) for path in half_written(folder.path)]
    if state == FINISHED and (folder.path / "checkpoints").is_dir():
        reason = f"checkpoints of finished run {_name(folder)}"
        waste.append(Removable(folder.path / "checkpoints", reason, folder, stamp))
    return waste


def _stamp(folder: RunDir) -> int:
    try:
        return (folder.path / "status.json").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _name(folder: RunDir) -> str:
    try:
        return f"{folder.short} {folder.identity()['name']}"
    except DamagedError:
        return folder.short


def _ended_sweeps(project: Project) -> list[Path]:
    folders = project.sweeps.glob("*") if project.sweeps.is_dir() else []
    return [folder for folder in folders if folder.is_dir() and not is_held(folder / SWEEP_LOCK)]


def clean(project: Project, also_killed: bool, is_sure: bool, tell: Callable[[str], None]) -> None:
    """Say what would be deleted; delete it when `is_sure`. MLflow's own runs stay as they are."""
    waste = find_removable(project, also_killed)
    for item in waste:
        print(f"{item.size / MEBIBYTE:8.1f} MiB  {item.path}  ({item.reason})")
    if not waste:
        tell("nothing to clean")
    elif not is_sure:
        tell("nothing is deleted yet: `lenet clean --yes` deletes it")
    else:
        deleted = [_delete(project, item, tell) for item in waste]
        if not all(deleted):
            tell(f"{deleted.count(False)} left: somebody has been at them since, or a link leads elsewhere")
        tell(f"deleted {deleted.count(True)}")


def _delete(project: Project, item: Removable, tell: Callable[[str], None]) -> bool:
    """Delete it under the lock of its run or sweep, and only if nobody has been at the run since."""
    lock = item.path / SWEEP_LOCK if item.run is None else item.run.lock
    try:
        refuse_links(item.path, project.runs)
        if not lock.parent.is_dir():
            return False
        with locked_if_free(lock) as is_ours:
            if not is_ours or (item.run is not None and _stamp(item.run) != item.stamp):
                return False
            remove(item.path, project.runs)
    except LenetError as error:
        tell(str(error))
        return False
    return True
