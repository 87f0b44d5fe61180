"""DVC's lock file, which outlives whoever wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lenet.core.project import Project
from lenet.doctor.finding import Finding, few, ok, problem, warning

LOCK = Path(".dvc/tmp/rwlock")


def check_dvc_locks(project: Project) -> list[Finding]:
    """Look for a lock file that DVC cannot read, or that names processes that are gone."""
    path = project.root / LOCK
    remedy = f"when no dvc is at work: rm {LOCK}"
    try:
        pids = _holders(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return [ok("nobody holds anything")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return [problem(f"{LOCK}: is truncated or damaged; every dvc command stops at it", remedy)]
    gone = sorted(pid for pid in pids if not is_alive(pid))
    if gone:
        shown = few(str(pid) for pid in gone)
        return [warning(f"{LOCK}: still names dead processes ({shown}), whose stages were cut short", remedy)]
    return [
        ok(f"held by living processes: {few(str(pid) for pid in sorted(pids))}" if pids else "nobody holds anything")
    ]


def _holders(lock: Any) -> set[int]:
    """Return the process ids that a lock file names: one writer and several readers a path."""
    writers = [holder["pid"] for holder in lock.get("write", {}).values()]
    readers = [holder["pid"] for holders in lock.get("read", {}).values() for holder in holders]
    return {int(pid) for pid in writers + readers}


def is_alive(pid: int) -> bool:
    """Say whether a process of this machine has this id."""
    return Path(f"/proc/{pid}").exists()
