"""MLflow's store: the file that it is, or the server that should answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.core.urls import with_password
from lenet.doctor.databases import check_database, reading
from lenet.doctor.finding import Finding, counted, ok, problem, warning
from lenet.doctor.runs import run_folders
from lenet.tracking.destination import requested_destination
from lenet.tracking.store import database_path, shown_uri, tracking_uri

SERVER_SECONDS = 5.0
REFILL = "lenet sync: it is filled from the run folders"


def stores(project: Project) -> list[str]:
    """Return the URIs of all stores that the project's runs are shown in, the usual one first."""
    found = [tracking_uri(project)]
    for folder in run_folders(project):
        try:
            uri, _ = requested_destination(project, folder.identity())
        except (LenetError, OSError, KeyError):
            continue  # the check of the runs says so
        if uri not in found:
            found.append(uri)
    return found


def check_store(project: Project) -> list[Finding]:
    """Have SQLite check each store that is a file, and ask each one that is a server whether it is well."""
    return [finding for uri in stores(project) for finding in _check(project, uri)]


def _check(project: Project, uri: str) -> list[Finding]:
    path = database_path(uri)
    if path is None:
        return [_ask_server(uri)]
    if not path.is_file():
        runs = len(run_folders(project))
        if not runs:
            return [ok("nothing is tracked yet")]
        return [warning(f"{path}: there is none, and {counted(runs, 'run')} to show", REFILL)]
    findings = check_database(path, f"mv {path} {path}.damaged (and its -wal and -shm), then {REFILL}")
    if findings:
        return findings
    with reading(path) as connection:
        (tables,) = connection.execute("select count(*) from sqlite_master where name in ('runs', 'tags')").fetchone()
        if tables < 2:
            return [problem(f"{path}: is no store of MLflow's", "name another in tracking.uri or MLFLOW_TRACKING_URI")]
        (shown,) = connection.execute("select count(*) from runs where lifecycle_stage = 'active'").fetchone()
    return [ok(f"{path.name} is sound, with a write-ahead log; {counted(shown, 'run')}")]


def _ask_server(uri: str) -> Finding:
    if urlsplit(uri).scheme not in {"http", "https"}:
        return ok(f"{shown_uri(uri)}: not looked into; its own tools check it")
    import requests

    try:
        answer = requests.get(f"{with_password(uri)}/health", timeout=SERVER_SECONDS)
        said = "" if answer.ok else f"status {answer.status_code}"
    except requests.RequestException as error:
        said = type(error).__name__
    if said:
        return problem(f"{shown_uri(uri)}: does not answer ({said})", "start the server; runs wait for `lenet sync`")
    return ok(f"{shown_uri(uri)}: answers")
