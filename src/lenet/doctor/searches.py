"""Searches: Optuna's database and the seals of the search directories."""

from __future__ import annotations

from lenet.core.errors import DamagedError
from lenet.core.project import Project
from lenet.doctor.finding import Finding, count, ok, problem
from lenet.doctor.mlflow import sqlite_fault
from lenet.search.storage import DATABASE, searches
from lenet.tracking.search_sync import DESCRIPTION, SUMMARY, read_search, search_folders


def check_searches(project: Project) -> list[Finding]:
    """Have SQLite check the database of studies, and read the files of each search."""
    findings: list[Finding] = []
    path = searches(project) / DATABASE
    if path.is_file() and (fault := sqlite_fault(path)):
        remedy = f"mv {path} {path}.damaged, then the same `lenet search` again: finished runs are not trained again"
        findings.append(problem(f"{path}: SQLite finds it damaged ({fault})", remedy))
    folders = search_folders(project.home)
    for folder in folders:
        for name in (DESCRIPTION, SUMMARY):
            try:
                read_search(folder, name)
            except FileNotFoundError:
                continue
            except DamagedError:
                text = f"searches/{folder.name}/{name} is damaged or another search's"
                findings.append(problem(text, "the same `lenet search` again writes it anew"))
    return findings or [ok(count(len(folders), "search", "searches"))]
