"""`lenet clean`: list what can be deleted of the run directories, and delete it with --yes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from lenet.core.atomic_io import half_written, refuse_links, remove
from lenet.core.errors import DamagedError, LenetError, UnreadableError
from lenet.core.file_lock import is_held, locked_if_free
from lenet.core.project import SWEEP_LOCK, Project
from lenet.runs.run_dir import DAMAGED, FAILED, FINISHED, KILLED, RunDir, all_runs
from lenet.runs.table import read_row

logger = logging.getLogger(__name__)

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Removable:
    """Something that can be deleted, and why.

    Attributes:
        path: the file or folder.
        reason: for people.
        run: the run it belongs to, if it belongs to one.
        stamp: when that run's status was written, in nanoseconds.
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
    free = [run for run in all_runs(project) if not is_held(run.lock)]
    sweeps = sorted(project.sweeps.glob("*")) if project.sweeps.is_dir() else []
    ended = [path for path in sweeps if path.is_dir() and not is_held(path / SWEEP_LOCK)]
    return [
        *(item for run in free for item in _removable_of(run, also_killed)),
        *(Removable(path, "ended sweep") for path in ended),
    ]


def _removable_of(run: RunDir, also_killed: bool) -> list[Removable]:
    try:
        run.check_readable()
    except UnreadableError:
        return []
    stamp, state = _stamp(run), read_row(run).state
    if state in {FAILED, DAMAGED} or (state == KILLED and also_killed):
        return [Removable(run.path, f"{state.lower()} run {_name(run)}", run, stamp)]
    found = [Removable(path, "partial file", run, stamp) for path in half_written(run.path)]
    checkpoints = run.path / "checkpoints"
    if state == FINISHED and checkpoints.is_dir():
        found.append(Removable(checkpoints, f"checkpoints of finished run {_name(run)}", run, stamp))
    return found


def _stamp(run: RunDir) -> int:
    try:
        return (run.path / "status.json").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _name(run: RunDir) -> str:
    try:
        return f"{run.short} {run.identity()['name']}"
    except DamagedError:
        return run.short


def clean(project: Project, also_killed: bool, is_sure: bool) -> None:
    """List what can be deleted; delete it when `is_sure`. MLflow's own runs stay as they are."""
    items = find_removable(project, also_killed)
    for item in items:
        print(f"{item.size / MEBIBYTE:8.1f} MiB  {item.path}  ({item.reason})")
    if not items:
        logger.info("nothing to clean")
    elif not is_sure:
        logger.info("nothing is deleted yet: `lenet clean --yes` deletes it")
    else:
        deleted = [_delete(project, item) for item in items]
        if not all(deleted):
            logger.warning(f"{deleted.count(False)} not deleted: in use or changed since, or behind a link")
        logger.info(f"deleted {deleted.count(True)}")


def _delete(project: Project, item: Removable) -> bool:
    """Delete it under the lock of its run or sweep, and only if the run has not changed since it was listed."""
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
        logger.warning(str(error))
        return False
    return True
