"""Files that a process wrote half and then was killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lenet.core.atomic_io import half_written
from lenet.core.project import Project
from lenet.doctor.finding import Finding, counted, ok, warning

FOLDERS = ("build", "data", "results", "runs", "searches")
MEBIBYTE = 1 << 20


def check_leftovers(project: Project) -> list[Finding]:
    """Look for temporary files of processes that are gone."""
    left = list(_partial(project))
    if not left:
        return [ok("no half-written files")]
    size = sum(path.stat().st_size for path in left) / MEBIBYTE
    rest = [path for path in left if project.runs not in path.parents]
    remedies = ["lenet clean --yes"] if len(rest) < len(left) else []
    if rest:
        remedies.append(f"rm -f {' '.join(str(path) for path in rest)}")
    return [
        warning(f"{counted(len(left), 'half-written file')} of killed processes, {size:.1f} MiB", "; ".join(remedies))
    ]


def _partial(project: Project) -> Iterator[Path]:
    for top in sorted({project.root, project.home}):
        yield from half_written(top, is_deep=False)
        for name in FOLDERS:
            yield from half_written(top / name)
