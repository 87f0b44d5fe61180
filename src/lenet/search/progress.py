"""Progress of a search: a bar on a terminal, a log message for each new best trial elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from lenet.search.search_config import SearchConfig
from lenet.search.trial_records import TrialRecord, count, ranked

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger(__name__)


class SearchProgress:
    """Shows the progress of a search.

    Args:
        search: its settings.
    """

    def __init__(self, search: SearchConfig) -> None:
        self._best: TrialRecord | None = None
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(),
                progress.TimeRemainingColumn(),
            )
            self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(search.name, total=search.trials)

    def showing(self) -> AbstractContextManager[Any]:
        """Return the context within which the bar is drawn."""
        return self._bar or nullcontext()

    def update(self, records: Sequence[TrialRecord]) -> None:
        """Show the trials as they are now."""
        ended = count(records).ended
        best = next(iter(ranked(records)), None)
        if best is not None and (self._best is None or best.error < self._best.error):
            self._best = best
            if self._bar is None:
                logger.info(f"trial {best.number}: {best.error:.2f} %, best of {ended} trials so far")
        if self._bar is not None:
            shown = f"best {self._best.error:.2f} % (trial {self._best.number})" if self._best else "no best trial yet"
            self._bar.update(self._task, completed=ended, description=shown)
