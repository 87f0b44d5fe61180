"""The run folders against MLflow: runs that it lacks, runs it shows as they no longer are, runs without a folder."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from lenet.core.project import Project
from lenet.doctor.databases import reading
from lenet.doctor.finding import Finding, counted, few, ok, warning
from lenet.doctor.runs import run_folders
from lenet.doctor.store import stores
from lenet.runs.run_dir import RunDir
from lenet.tracking.entities import FINGERPRINT_TAG
from lenet.tracking.run_ref import recorded_run_ref
from lenet.tracking.run_sync import run_difference
from lenet.tracking.store import database_path
from lenet.tracking.sync import unsynced_runs, unsynced_searches

SYNC = "lenet sync"


def check_shown(project: Project) -> list[Finding]:
    """Compare the folders with each store that is an SQLite file; of other stores, with what was last sent there."""
    findings = []
    lacking, differing = list[str](), list[str]()
    for folder, uri, _ in unsynced_runs(project):
        words = _differences(folder, uri)
        if words:
            differing.append(f"{folder.short} ({few(words)})")
        else:
            lacking.append(folder.short)
    if lacking:
        text = f"{counted(len(lacking), 'run')} not in MLflow, or not as they are now: {few(lacking)}"
        findings.append(warning(text, SYNC))
    if differing:
        text = f"{counted(len(differing), 'run')} that MLflow shows otherwise than the folders: {few(differing)}"
        findings.append(warning(text, SYNC))
    for uri in stores(project):
        path = database_path(uri)
        if path is not None and path.is_file():
            findings += _check_file(project, path)
    searches = unsynced_searches(project)
    if searches:
        names = few(folder.name for folder in searches)
        text = f"{counted(len(searches), 'search', 'searches')} not in MLflow, or not as they are now: {names}"
        findings.append(warning(text, SYNC))
    return findings or [ok(f"{counted(len(run_folders(project)), 'run')}, MLflow shows them as they are")]


def _differences(folder: RunDir, uri: str) -> list[str]:
    """Return what of a run an SQLite store shows otherwise, in words; nothing where it does not show it at all."""
    path, (place, _) = database_path(uri), recorded_run_ref(folder, uri)
    if path is None or place is None:
        return []
    try:
        found = run_difference(folder, path, place.run_id)
    except sqlite3.Error:
        return []
    return found.words() if found is not None else []


def _check_file(project: Project, path: Path) -> list[Finding]:
    findings = []
    shown = _tagged(path, FINGERPRINT_TAG)
    homeless = [name for name in shown if not RunDir(project.runs / name).path.is_dir()]
    if homeless:
        names = few(name[:12] for name in homeless)
        findings.append(
            warning(
                f"{counted(len(homeless), 'run')} in {path.name} without a folder: {names}",
                "bring the folders back to runs/, or delete these runs in `lenet ui`",
            )
        )
    return findings


def _tagged(path: Path, tag: str) -> list[str]:
    """Return the tag's value of the runs that have a tag and are not deleted."""
    query = (
        "select tags.value from runs join tags on tags.run_uuid = runs.run_uuid"
        " where tags.key = ? and runs.lifecycle_stage = 'active' order by runs.start_time"
    )
    with reading(path) as connection:
        return [value for (value,) in connection.execute(query, (tag,))]
