"""The table at a sweep's end: its runs, mean and spread over seeds, and the link that compares the runs in MLflow."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lenet.core.errors import DamagedError
from lenet.core.project import Project
from lenet.core.table import print_table
from lenet.runs.run_dir import SHORT, RunDir
from lenet.tracking.run_ref import recorded_run_ref
from lenet.tracking.store import tracking_uri
from lenet.tracking.ui_links import UI_HOST, UI_PORT, runs_link, ui_address

ERROR = "val/error %"
SEED = "seed"


@dataclass(frozen=True)
class Row:
    """One job of a sweep.

    Attributes:
        fingerprint: the run.
        outcome: as `RunResult` has it; begins with `failed` where there is no result.
        knobs: the config's values by dotted name.
    """

    fingerprint: str
    outcome: str
    knobs: dict[str, Any]

    @property
    def is_failed(self) -> bool:
        """Whether the job has no result."""
        return self.outcome.startswith("failed")

    def run_dir(self, project: Project) -> RunDir:
        """Return the run's directory."""
        return RunDir(project.runs / self.fingerprint)

    def history(self, project: Project) -> list[dict[str, float]]:
        """Return the run's epochs; none where the file is damaged, which the next request for the run mends."""
        try:
            return self.run_dir(project).history()
        except DamagedError:
            return []

    def error(self, project: Project) -> float | None:
        """Return the run's validation error in percent; None where it has none."""
        history = self.history(project)
        return history[-1].get("val/error") if history and not self.is_failed else None


def print_rows(project: Project, rows: Sequence[Row]) -> None:
    """Print the runs, mean ± sd of those that differ in their seed alone, and the link that compares them in MLflow."""
    knobs = differing(rows)
    headings = ("run", *knobs, ERROR, "epochs", "seconds", "state")
    print_table(headings, [_cells(project, row, knobs) for row in rows], right=headings[1:-1])
    if means := mean_errors(project, rows):
        others = [knob for knob in knobs if knob != SEED]
        headings = (*others, f"{ERROR} (mean ± sd)", "n")
        cells = [(*values, f"{mean:.2f} ± {sd:.2f}", str(n)) for values, mean, sd, n in means]
        print()
        print_table(headings, cells, right=headings)
    if link := compare_link(project, rows):
        print(f"compare: {link}")
        if link.startswith(f"http://{UI_HOST}:{UI_PORT}/"):
            print("         (once `lenet ui` runs)")


def _cells(project: Project, row: Row, knobs: Sequence[str]) -> tuple[str, ...]:
    history, error = row.history(project), row.error(project)
    return (
        row.fingerprint[:SHORT],
        *(str(row.knobs.get(name, "")) for name in knobs),
        "–" if error is None else f"{error:.2f}",
        str(len(history)),
        f"{sum(epoch['seconds'] for epoch in history):.1f}",
        row.outcome,
    )


def differing(rows: Sequence[Row]) -> list[str]:
    """Return the knobs that are not the same in all rows; of a single row, its variant and seed."""
    if len(rows) == 1:
        return ["name", SEED]
    names = dict.fromkeys(name for row in rows for name in row.knobs)
    return [name for name in names if len({str(row.knobs.get(name)) for row in rows}) > 1]


def mean_errors(project: Project, rows: Sequence[Row]) -> list[tuple[tuple[str, ...], float, float, int]]:
    """Return the spread of the validation error over seeds, for each combination of the other knobs that differ.

    Returns:
        The combination's values, mean and standard deviation in percent, and the number of runs; in the rows' order,
        without combinations of fewer than two runs. A run that several rows name counts once, a failed one not at all.
    """
    knobs = differing(rows)
    if SEED not in knobs:
        return []
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for row in rows:
        error = row.error(project)
        if error is not None:
            values = tuple(str(row.knobs.get(name, "")) for name in knobs if name != SEED)
            groups.setdefault(values, {})[row.fingerprint] = error
    return [
        (values, statistics.mean(errors.values()), statistics.stdev(errors.values()), len(errors))
        for values, errors in groups.items()
        if len(errors) > 1
    ]


def compare_link(project: Project, rows: Sequence[Row]) -> str | None:
    """Return the address that compares the rows' runs in MLflow, or None while MLflow does not show them all."""
    refs = [recorded_run_ref(row.run_dir(project), tracking_uri(project, row.knobs["tracking.uri"])) for row in rows]
    found = [ref for ref in refs if ref is not None]
    if len(found) < len(rows) or not found:
        return None
    first = found[0]
    run_ids = list(dict.fromkeys(ref.run_id for ref in found if ref.uri == first.uri))
    return runs_link(ui_address(first.uri), first.experiment_id, run_ids)
