"""What a sweep ends with: a table of its runs, and the link that opens exactly these in the MLflow UI."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Row:
    """One job of a sweep, as its table shows it.

    Attributes:
        fingerprint: the run.
        answer: how it was answered; begins with `failed` where it was not.
        knobs: the config's values by dotted name.
    """

    fingerprint: str
    answer: str
    knobs: dict[str, Any]

    @property
    def is_failed(self) -> bool:
        """Say whether the job has no result."""
        return self.answer.startswith("failed")

    def folder(self, project: Project) -> RunDir:
        """Return the run's folder."""
        return RunDir(project.runs / self.fingerprint)

    def history(self, project: Project) -> list[dict[str, float]]:
        """Return the run's epochs; none where the file is damaged, which asking again mends."""
        try:
            return self.folder(project).history()
        except DamagedError:
            return []

    def error(self, project: Project) -> float | None:
        """Return the run's validation error in percent; None where it has none."""
        try:
            return None if self.is_failed else self.folder(project).headline().get("val/error")
        except DamagedError:
            return None


def print_rows(project: Project, rows: Sequence[Row]) -> None:
    """Print a table of runs on standard output, and the link that opens exactly these in the MLflow UI."""
    shown = differing(rows)
    headings = ("run", *shown, "val/error %", "epochs", "seconds", "state")
    print_table(headings, [_cells(project, row, shown) for row in rows], right=headings[1:-1])
    if link := compare_link(project, rows):
        print(f"compare: {link}")
        if link.startswith(f"http://{UI_HOST}:{UI_PORT}/"):
            print("         (once `lenet ui` runs)")


def _cells(project: Project, row: Row, shown: Sequence[str]) -> tuple[str, ...]:
    history, error = row.history(project), row.error(project)
    return (
        row.fingerprint[:SHORT],
        *(str(row.knobs.get(name, "")) for name in shown),
        "–" if error is None else f"{error:.2f}",
        str(len(history)),
        f"{sum(epoch['seconds'] for epoch in history):.1f}",
        row.answer,
    )


def differing(rows: Sequence[Row]) -> list[str]:
    """Return the knobs that are not the same in all rows; of a single row, its variant and seed."""
    names = list(dict.fromkeys(name for row in rows for name in row.knobs))
    if len(rows) == 1:
        return ["name", "seed"]
    return [name for name in names if len({str(row.knobs.get(name)) for row in rows}) > 1]


def compare_link(project: Project, rows: Sequence[Row]) -> str | None:
    """Return the address that compares the rows' runs, or None while MLflow does not show them all."""
    places = []
    for row in rows:
        uri = tracking_uri(project, row.knobs["tracking.uri"])
        places.append(recorded_run_ref(row.folder(project), uri))
    found = [place for place in places if place is not None]
    if len(found) < len(rows) or not found:
        return None
    first = found[0]
    together = list(dict.fromkeys(place.run_id for place in found if place.uri == first.uri))
    return runs_link(ui_address(first.uri), first.experiment_id, together)
