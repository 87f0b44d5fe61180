"""The searches: Optuna's database, and the seals of what the searches' folders keep."""

from __future__ import annotations

from lenet.core.errors import DamagedError
from lenet.core.project import Project
from lenet.doctor.databases import check_database
from lenet.doctor.finding import Finding, counted, ok, problem
from lenet.search.storage import DATABASE, searches
from lenet.tracking.search_sync import DESCRIPTION, SUMMARY, read_search


def check_studies(project: Project) -> list[Finding]:
    """Have SQLite check the studies' database, and read what each search's folder says of it."""
    path = searches(project) / DATABASE
    findings: list[Finding] = []
    if path.is_file():
        remedy = f"mv {path} {path}.damaged, then the same `lenet search` again: trained trials are answered from runs/"
        findings += check_database(path, remedy)
    folders = sorted(folder for folder in searches(project).glob("*") if (folder / DESCRIPTION).is_file())
    for folder in folders:
        for name in (DESCRIPTION, SUMMARY):
            if not (folder / name).is_file():
                continue
            try:
                read_search(folder, name)
            except DamagedError:
                remedy = "the same `lenet search` again writes it anew"
                findings.append(problem(f"searches/{folder.name}/{name}: is damaged or another search's", remedy))
    if findings:
        return findings
    told = f"{counted(len(folders), 'search', 'searches')}, {path.name} is sound"
    return [ok(told if path.is_file() else "nothing was searched yet")]
