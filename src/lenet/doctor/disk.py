"""Free space where the project, its home and temporary files lie."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lenet.core.project import Project
from lenet.doctor.finding import Finding, ok, problem, warning

GIBIBYTE = 1 << 30
SCARCE_BYTES = 2 * GIBIBYTE
"""A search of some hundred runs, or a second data set in DVC's cache, may not fit."""

TOO_LITTLE_BYTES = GIBIBYTE // 4
"""Even the checkpoints and artifacts of one run may not fit."""


def check_disk(project: Project) -> list[Finding]:
    """Check the free space of each file system once."""
    folders = {path.stat().st_dev: path for path in (Path(tempfile.gettempdir()), project.home, project.root)}
    free = {path: shutil.disk_usage(path).free for path in folders.values()}
    remedy = "`lenet clean` lists runs that can go; `dvc gc -w` empties DVC's cache of what no stage needs"
    findings = [
        (problem if size < TOO_LITTLE_BYTES else warning)(f"{path}: only {_gibibytes(size)} free", remedy)
        for path, size in free.items()
        if size < SCARCE_BYTES
    ]
    return findings or [ok(", ".join(f"{_gibibytes(size)} free at {path}" for path, size in free.items()))]


def _gibibytes(size: int) -> str:
    return f"{size / GIBIBYTE:,.1f} GiB"
