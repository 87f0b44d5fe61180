"""Room on the disks that hold the project, its home and temporary files."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from lenet.core.project import Project
from lenet.doctor.finding import Finding, ok, problem, warning

GIBIBYTE = 1 << 30
SCARCE_BYTES = 2 * GIBIBYTE
"""Below this a search of some hundred runs, or a second data set in DVC's cache, may fill the disk."""

TOO_LITTLE_BYTES = GIBIBYTE // 4
"""Below this even one training's checkpoints and MLflow's log may not fit."""

TEMPORARY_REMEDY = "make room there, or name another folder in TMPDIR"
REMEDY = "`lenet clean` says what of the runs can go; `dvc gc -w` empties DVC's cache of what no stage needs"


def check_disk(project: Project) -> list[Finding]:
    """Look at the free bytes and the free inodes of each file system."""
    temporary = Path(tempfile.gettempdir())
    seen: dict[int, Path] = {}
    for folder in (project.root, project.home, temporary):
        if folder.is_dir():
            seen.setdefault(folder.stat().st_dev, folder)
    findings = [finding for folder in seen.values() if (finding := _look(folder, is_temporary=folder == temporary))]
    return findings or [ok(", ".join(f"{_free(folder)} free at {folder}" for folder in seen.values()))]


def _look(folder: Path, is_temporary: bool) -> Finding | None:
    remedy = TEMPORARY_REMEDY if is_temporary else REMEDY
    free = shutil.disk_usage(folder).free
    told = os.statvfs(folder)
    if told.f_files and not told.f_favail:
        return problem(f"{folder}: no inode is free, no file can be made", remedy)
    if free < TOO_LITTLE_BYTES:
        return problem(f"{folder}: only {_free(folder)} free", remedy)
    if free < SCARCE_BYTES and not is_temporary:  # what is temporary is small
        return warning(f"{folder}: only {_free(folder)} free", remedy)
    return None


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / GIBIBYTE:,.1f} GiB"
