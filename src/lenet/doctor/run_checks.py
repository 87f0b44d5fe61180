"""All checks in turn, and their findings as lines for people or as JSON for programs."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.doctor.cache import check_cache
from lenet.doctor.data import check_data
from lenet.doctor.disk import check_disk
from lenet.doctor.dvc_locks import check_dvc_locks
from lenet.doctor.finding import Finding, Level, counted, problem
from lenet.doctor.gpu import check_graphics
from lenet.doctor.mlflow_runs import check_shown
from lenet.doctor.partial_files import check_leftovers
from lenet.doctor.registry import check_registry
from lenet.doctor.runs import check_runs
from lenet.doctor.searches import check_studies
from lenet.doctor.store import check_store
from lenet.doctor.versions import check_versions

Check = Callable[[Project], list[Finding]]

CHECKS: dict[str, Check] = {
    "versions": check_versions,
    "graphics": check_graphics,
    "disk": check_disk,
    "data": check_data,
    "dvc cache": check_cache,
    "dvc locks": check_dvc_locks,
    "run folders": check_runs,
    "mlflow store": check_store,
    "mlflow runs": check_shown,
    "registry": check_registry,
    "searches": check_studies,
    "leftovers": check_leftovers,
}

PATIENCE_SECONDS = 2.0
"""After so long without an answer people want to see that something happens."""

STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


def examine(project: Project, begin: Callable[[str], None] = lambda name: None) -> dict[str, list[Finding]]:
    """Run every check; one that cannot be done is a problem of its own, and the others are done all the same.

    Args:
        project: where things are.
        begin: is told each check's name when it begins.

    Returns:
        For each check what it found, one finding at least.
    """
    found = {}
    for name, check in CHECKS.items():
        begin(name)
        try:
            found[name] = check(project)
        except (LenetError, OSError, sqlite3.Error) as error:
            found[name] = [problem(f"could not be checked: {error}", "mend what the other lines say, then ask again")]
    return found


def doctor(project: Project, as_json: bool) -> bool:
    """Print what every check found, and return whether there is no problem among it."""
    with _progress(len(CHECKS)) as begin:
        found = examine(project, begin)
    levels = [finding.level for findings in found.values() for finding in findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    if as_json:
        listed = [
            {"check": name, "level": finding.level.value, "text": finding.text, "remedy": finding.remedy}
            for name, findings in found.items()
            for finding in findings
        ]
        json.dump(
            {"problems": problems, "warnings": warnings, "findings": listed}, sys.stdout, indent=2, ensure_ascii=False
        )
        print()
    else:
        _print(found)
        print(f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}")
    return not problems


def _print(found: dict[str, list[Finding]]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    names, levels = max(map(len, found)), max(map(len, Level))
    for name, findings in found.items():
        for finding in findings:
            line = Text(finding.level.value.ljust(levels), STYLES[finding.level])
            line.append(f"  {name.ljust(names)}  {finding.text}", "default")
            if finding.remedy:
                line.append(f" → {finding.remedy}", "default bold")
            console.print(line)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show on a terminal, once it takes long, which check is being done; what is yielded takes each one's name."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda name: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=total, completed=-1)
    timer = threading.Timer(PATIENCE_SECONDS, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda name: bar.update(task, description=name, advance=1)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
