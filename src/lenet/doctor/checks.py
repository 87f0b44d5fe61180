"""`lenet doctor`: run all checks and print their findings, as lines or as JSON."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.doctor.cache import check_cache
from lenet.doctor.data import check_data
from lenet.doctor.disk import check_disk
from lenet.doctor.environment import check_gpu, check_versions
from lenet.doctor.finding import Finding, Level, count, problem
from lenet.doctor.mlflow import check_mlflow
from lenet.doctor.registry import check_registry
from lenet.doctor.runs import check_runs
from lenet.doctor.searches import check_searches

CHECKS: dict[str, Callable[[Project], list[Finding]]] = {
    "versions": check_versions,
    "gpu": check_gpu,
    "disk": check_disk,
    "data": check_data,
    "dvc cache": check_cache,
    "runs": check_runs,
    "searches": check_searches,
    "mlflow": check_mlflow,
    "registry": check_registry,
}
STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def run_checks(project: Project, on_start: Callable[[str], None] = lambda name: None) -> dict[str, list[Finding]]:
    """Run every check; one that fails is a problem of its own and does not stop the others.

    Args:
        project: what is checked.
        on_start: called with each check's name before it runs.

    Returns:
        By the check's name its findings, one at least.
    """
    found = {}
    for name, check in CHECKS.items():
        on_start(name)
        try:
            found[name] = check(project)
        except (LenetError, OSError, sqlite3.Error) as error:
            found[name] = [problem(f"the check failed: {error}", "follow the other remedies, then run it again")]
    return found


def doctor(project: Project, as_json: bool) -> bool:
    """Print the findings of all checks, and return whether no problem is among them."""
    from rich.console import Console

    with Console(stderr=True).status("") as status:  # on a terminal only
        found = run_checks(project, lambda name: status.update(f"checking {name}"))
    levels = [finding.level for findings in found.values() for finding in findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    if as_json:
        listed = [
            {"check": name, "level": finding.level.value, "text": finding.text, "remedy": finding.remedy}
            for name, findings in found.items()
            for finding in findings
        ]
        body = {"problems": problems, "warnings": warnings, "findings": listed}
        print(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        _print_lines(found)
        print(f"{count(problems, 'problem')}, {count(warnings, 'warning')}")
    return not problems


def _print_lines(found: dict[str, list[Finding]]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    name_width, level_width = max(map(len, found)), max(map(len, Level))
    for name, findings in found.items():
        for finding in findings:
            line = Text(finding.level.value.ljust(level_width), STYLES[finding.level])
            line.append(f"  {name.ljust(name_width)}  {finding.text}", "default")
            if finding.remedy:
                line.append(f" → {finding.remedy}", "default bold")
            console.print(line)
