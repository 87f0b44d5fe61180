"""Progress of a search: a live table on a terminal, a log message for each new best trial elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from lenet.search.search_config import SearchConfig
from lenet.search.study import SECONDS_A_MINUTE
from lenet.search.trial_records import Counts, TrialRecord, count, ranked

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

logger = logging.getLogger(__name__)


class Progress:
    """Shows the progress of a search.

    Args:
        study: the study's name.
        search: its budget.
    """

    def __init__(self, study: str, search: SearchConfig) -> None:
        self._study = study
        self._search = search
        self._live: Live | None = None
        self._began = time.monotonic()
        self._ended_before: int | None = None
        self._best: TrialRecord | None = None

    def showing(self) -> AbstractContextManager[Any]:
        """Return the context within which the table is drawn."""
        if not sys.stderr.isatty():
            return nullcontext()
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=2, transient=True)
        return self._live

    def update(self, records: Sequence[TrialRecord], spent_seconds: float) -> None:
        """Show the trials as they are now."""
        counts = count(records)
        if self._ended_before is None:
            self._ended_before = counts.ended
        best = next(iter(ranked(records)), None)
        if best is not None and (self._best is None or best.error < self._best.error):
            self._best = best
            if self._live is None:
                logger.info(f"trial {best.number}: {best.error:.2f} %, best of {counts.ended} trials so far")
        if self._live is not None:
            self._live.update(self._table(counts, spent_seconds))

    def _table(self, counts: Counts, spent_seconds: float) -> Table:
        from rich.table import Table

        minutes = (time.monotonic() - self._began) / SECONDS_A_MINUTE
        rate = (counts.ended - (self._ended_before or 0)) / minutes if minutes else 0.0
        remaining = []
        if self._search.trials is not None and rate:
            remaining.append(max(0, self._search.trials - counts.ended) / rate)
        if self._search.minutes is not None:
            remaining.append(max(0.0, self._search.minutes - spent_seconds / SECONDS_A_MINUTE))
        best, limit = "none yet", f" of {self._search.trials}" if self._search.trials else ""
        if self._best is not None:
            values = "  ".join(f"{name}={_short(value)}" for name, value in self._best.assignment.items())
            best = f"[bold]{self._best.error:.2f} %[/bold]  trial {self._best.number}  {values}"
        table = Table.grid(padding=(0, 2))
        table.add_row("search", self._study)
        table.add_row("best", best)
        states = f"{counts.pruned} pruned  {counts.failed} failed  {counts.running} running"
        table.add_row("trials", f"{counts.ended}{limit} ended  {states}")
        table.add_row("rate", f"{rate:.1f} trials a minute" if rate else "…")
        table.add_row("remaining", f"{min(remaining):.1f} minutes" if remaining else "…")
        return table


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
