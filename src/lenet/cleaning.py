"""`lenet clean`: what of the run folders nobody needs, said first and deleted when told so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lenet.durable import TEMPORARY_SUFFIX
from lenet.listing import read_line
from lenet.locks import is_held
from lenet.project import Project
from lenet.runs import DAMAGED, FAILED, FINISHED, KILLED, RunFolder, all_runs
from lenet.sweep import SWEEPS

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Waste:
    """Something that can be deleted, and why."""

    path: Path
    reason: str

    @property
    def size(self) -> int:
        """Its size in bytes."""
        files = [self.path] if self.path.is_file() else [path for path in self.path.rglob("*") if path.is_file()]
        return sum(path.stat().st_size for path in files)


def find_waste(project: Project, also_killed: bool = False) -> list[Waste]:
    """Return what can go: failed and damaged runs, checkpoints of finished ones, partial files, ended sweeps.

    A run that is being trained is left alone; killed runs can go on and are kept unless `also_killed`.
    """
    waste = []
    for folder in all_runs(project):
        if is_held(folder.lock):
            continue
        state = read_line(folder).state
        if state in {FAILED, DAMAGED} or (state == KILLED and also_killed):
            waste.append(Waste(folder.path, f"{state.lower()} run {_name(folder)}"))
            continue
        waste += [Waste(path, "partial file") for path in folder.path.rglob(f"*{TEMPORARY_SUFFIX}")]
        if state == FINISHED and (folder.path / "checkpoints").is_dir():
            waste.append(Waste(folder.path / "checkpoints", f"checkpoints of finished run {_name(folder)}"))
    return waste + [Waste(path, "ended sweep") for path in _ended_sweeps(project)]


def _name(folder: RunFolder) -> str:
    from lenet.errors import DamagedError

    try:
        return f"{folder.short} {folder.identity()['name']}"
    except DamagedError:
        return folder.short


def _ended_sweeps(project: Project) -> list[Path]:
    folders = (project.runs / SWEEPS).glob("*") if (project.runs / SWEEPS).is_dir() else []
    return [folder for folder in folders if not Path(f"/proc/{folder.name}").exists()]


def clean(project: Project, also_killed: bool, is_sure: bool, tell: Callable[[str], None]) -> None:
    """Say what would be deleted; delete it when `is_sure`. MLflow's own runs stay as they are."""
    waste = find_waste(project, also_killed)
    for item in waste:
        print(f"{item.size / MEBIBYTE:8.1f} MiB  {item.path}  ({item.reason})")
    if not waste:
        tell("nothing to clean")
    elif not is_sure:
        tell("nothing is deleted yet: `lenet clean --yes` deletes it")
    else:
        for item in waste:
            if item.path.is_dir():
                shutil.rmtree(item.path)
            else:
                item.path.unlink(missing_ok=True)
        tell(f"deleted {len(waste)}")
