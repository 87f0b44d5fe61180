"""The run folders against MLflow: runs that it lacks, runs it shows as they no longer are, runs without a folder."""

from __future__ import annotations

from pathlib import Path

from lenet.doctor.databases import reading
from lenet.doctor.finding import Finding, counted, few, ok, warning
from lenet.doctor.runs import run_folders
from lenet.doctor.store import stores
from lenet.locks import is_held
from lenet.project import Project
from lenet.runs import RUNNING, RunFolder
from lenet.synchronize import outdated
from lenet.tracking.entities import FINGERPRINT_TAG
from lenet.tracking.searches import LOCK, SEARCHES, STUDY_TAG
from lenet.tracking.store import database_path

SYNC = "lenet sync"


def check_shown(project: Project) -> list[Finding]:
    """Compare the folders with each store that is an SQLite file; of other stores, with what was last sent there."""
    findings = []
    behind = outdated(project)
    if behind:
        names = few(folder.short for folder, _, _ in behind)
        findings.append(warning(f"{counted(len(behind), 'run')} not in MLflow, or not as they are now: {names}", SYNC))
    said = {folder.fingerprint for folder, _, _ in behind}
    for uri in stores(project):
        path = database_path(uri)
        if path is not None and path.is_file():
            findings += _check_file(project, path, said)
    return findings or [ok(f"{counted(len(run_folders(project)), 'run')}, MLflow shows them as they are")]


def _check_file(project: Project, path: Path, said: set[str]) -> list[Finding]:
    findings = []
    shown = _tagged(path, FINGERPRINT_TAG)
    homeless = [name for _, name, _ in shown if not RunFolder(project.runs / name).path.is_dir()]
    if homeless:
        names = few(name[:12] for name in homeless)
        findings.append(
            warning(
                f"{counted(len(homeless), 'run')} in {path.name} without a folder: {names}",
                "bring the folders back to runs/, or delete these runs in `lenet ui`",
            )
        )
    known = set(homeless) | said
    dead = [name for _, name, state in shown if state == RUNNING and name not in known and not _works(project, name)]
    if dead:
        words = " ".join(f"runs/{name[:12]}*/mlflow.json" for name in dead)
        names = few(name[:12] for name in dead)
        findings.append(
            warning(f"shown as running in {path.name}, but their processes are gone: {names}", f"rm {words}; {SYNC}")
        )
    searches = [
        name
        for _, name, state in _tagged(path, STUDY_TAG)
        if state == RUNNING and not is_held(project.home / SEARCHES / name / LOCK)
    ]
    if searches:
        findings.append(warning(f"searches shown as running that nobody leads: {few(searches)}", SYNC))
    return findings


def _works(project: Project, fingerprint: str) -> bool:
    return is_held(RunFolder(project.runs / fingerprint).lock)


def _tagged(path: Path, tag: str) -> list[tuple[str, str, str]]:
    """Return id, tag's value and state of the runs that have a tag and are not deleted."""
    query = (
        "select runs.run_uuid, tags.value, runs.status from runs join tags on tags.run_uuid = runs.run_uuid"
        " where tags.key = ? and runs.lifecycle_stage = 'active' order by runs.start_time"
    )
    with reading(path) as connection:
        return list(connection.execute(query, (tag,)))
