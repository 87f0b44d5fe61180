"""What one sees while a search runs: a table that is drawn anew on a terminal, a line for each new best in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from lenet.search.counts import Counts
from lenet.search.search_config import SearchConfig
from lenet.search.study import SECONDS_A_MINUTE
from lenet.search.trial_records import TrialRecord, ranked

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

REDRAWS_A_SECOND = 2


class Progress:
    """Shows how a search goes.

    Args:
        name: the study's.
        search: its budget.
        tell: takes a line, where there is no terminal.
    """

    def __init__(self, name: str, search: SearchConfig, tell: Callable[[str], None]) -> None:
        self._name = name
        self._search = search
        self._tell = tell
        self._live: Live | None = None
        self._began = time.monotonic()
        self._done_before: int | None = None
        self._best: TrialRecord | None = None

    def showing(self) -> AbstractContextManager[Any]:
        """Return the context within which the table is drawn."""
        if not sys.stderr.isatty():
            return nullcontext()
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), refresh_per_second=REDRAWS_A_SECOND, transient=True)
        return self._live

    def update(self, found: Sequence[TrialRecord], counts: Counts, spent_seconds: float) -> None:
        """Show how the search stands now."""
        if self._done_before is None:
            self._done_before = counts.done
        best = next(iter(ranked(found)), None)
        if best is not None and (self._best is None or best.error < self._best.error):
            self._best = best
            if self._live is None:
                self._tell(f"trial {best.number}: {best.error:.2f} % ({counts.done} trials done), best so far")
        if self._live is not None:
            self._live.update(self._table(counts, spent_seconds))

    def _table(self, counts: Counts, spent_seconds: float) -> Table:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        rate = self.trials_a_minute(counts)
        limit = f" of {self._search.trials}" if self._search.trials else ""
        best = "none yet"
        if self._best is not None:
            values = "  ".join(f"{name}={_short(value)}" for name, value in self._best.assignment.items())
            best = f"[bold]{self._best.error:.2f} %[/bold]  trial {self._best.number}  {values}"
        table.add_row("search", self._name)
        table.add_row("best", best)
        table.add_row(
            "trials",
            f"{counts.done}{limit} done  {counts.pruned} pruned  {counts.failed} failed  {counts.running} running",
        )
        table.add_row("pace", f"{rate:.1f} trials a minute" if rate else "…")
        table.add_row("left", self._left(counts, rate, spent_seconds))
        return table

    def trials_a_minute(self, counts: Counts) -> float:
        """Return the trials that ended a minute since this command began."""
        minutes = (time.monotonic() - self._began) / SECONDS_A_MINUTE
        return (counts.done - (self._done_before or 0)) / minutes if minutes else 0.0

    def _left(self, counts: Counts, rate: float, spent_seconds: float) -> str:
        lefts = []
        if self._search.trials is not None and rate:
            lefts.append(max(0, self._search.trials - counts.done) / rate)
        if self._search.minutes is not None:
            lefts.append(max(0.0, self._search.minutes - spent_seconds / SECONDS_A_MINUTE))
        return f"{min(lefts):.1f} minutes" if lefts else "…"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
