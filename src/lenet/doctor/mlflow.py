"""MLflow's store: whether it is sound or answers, and whether it shows the runs and searches as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from lenet.core.project import Project
from lenet.core.urls import with_password, without_password
from lenet.doctor.finding import Finding, count, join_names, ok, problem, warning
from lenet.runs.run_dir import all_runs
from lenet.tracking.entities import TrackedRun
from lenet.tracking.store import tracking_uri
from lenet.tracking.store_errors import database_path
from lenet.tracking.sync import find_unsynced

BUSY_SECONDS = 5.0
HTTP_SECONDS = 5.0
MAX_FINDINGS = 5
SYNC = "lenet sync"


def sqlite_fault(path: Path) -> str:
    """Return the first fault that SQLite's own check finds in a file, or nothing.

    Raises:
        sqlite3.OperationalError: the file is busy or cannot be opened, which says nothing of its content.
    """
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
            (found,) = connection.execute("pragma integrity_check(1)").fetchone()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == "ok" else str(found)


def check_mlflow(project: Project) -> list[Finding]:
    """Check the store that the project uses, then compare the runs and searches with the stores they belong to."""
    uri = tracking_uri(project)
    return _check_store(project, uri) or _check_content(project, uri)


def _check_store(project: Project, uri: str) -> list[Finding]:
    path = database_path(uri)
    if path is not None and path.is_file():
        if fault := sqlite_fault(path):
            remedy = f"mv {path} {path}.damaged (and its -wal and -shm), then `{SYNC}` fills a new one"
            return [problem(f"{path}: SQLite finds it damaged ({fault})", remedy)]
    elif path is not None:
        if runs := all_runs(project):
            return [warning(f"{path} is missing, and {count(len(runs), 'run')} to show", SYNC)]
    elif urlsplit(uri).scheme in {"http", "https"}:
        import requests

        try:
            requests.get(f"{with_password(uri)}/health", timeout=HTTP_SECONDS).raise_for_status()
        except requests.RequestException as error:
            text = f"{without_password(uri)} does not answer ({type(error).__name__})"
            return [problem(text, f"start the server, then `{SYNC}`")]
    return []


def _check_content(project: Project, uri: str) -> list[Finding]:
    findings = []
    unsynced, _ = find_unsynced(project)  # the checks of runs and searches report the damaged ones
    for one in unsynced:
        kind = "run" if isinstance(one.tracked, TrackedRun) else "search"
        text = f"{kind} {one.tracked.name} differs in MLflow: {join_names(one.differences)}"
        findings.append(warning(text, SYNC))
    if len(findings) > MAX_FINDINGS:
        findings = [*findings[:MAX_FINDINGS], warning(f"{len(findings) - MAX_FINDINGS} more differ in MLflow", SYNC)]
    shown = f"{without_password(uri)} shows {count(len(all_runs(project)), 'run')} as they are"
    return findings or [ok(shown)]
