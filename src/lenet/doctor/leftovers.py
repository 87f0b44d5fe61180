"""Files that a process wrote half and then was killed; their names tell whose they were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lenet.doctor.dvc_locks import is_alive
from lenet.doctor.finding import Finding, counted, ok, warning
from lenet.durable import TEMPORARY_SUFFIX
from lenet.project import Project

FOLDERS = ("build", "data", "results", "runs", "searches")
OWNER = re.compile(rf"\.(?P<pid>\d+){re.escape(TEMPORARY_SUFFIX)}")
MEBIBYTE = 1 << 20


def check_leftovers(project: Project) -> list[Finding]:
    """Look for temporary files of processes that are gone."""
    left = [path for path in _partial(project) if not _is_being_written(path)]
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
    pattern = f".*{TEMPORARY_SUFFIX}*"  # SQLite puts files of its own beside a temporary database
    for top in sorted({project.root, project.home}):
        yield from sorted(path for path in top.glob(pattern) if path.is_file())
        for name in FOLDERS:
            if (top / name).is_dir():
                yield from sorted(path for path in (top / name).rglob(pattern) if path.is_file())


def _is_being_written(path: Path) -> bool:
    owner = OWNER.search(path.name)
    return owner is not None and is_alive(int(owner["pid"]))
