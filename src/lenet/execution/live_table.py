"""A table on the terminal of the runs that are being trained; silent elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lenet.core.errors import DamagedError
from lenet.runs.run_dir import HEADLINE, RunDir

if TYPE_CHECKING:
    from rich.table import Table

REFRESHES_PER_SECOND = 2
LINES_BESIDE = 6
"""Of the terminal, for heading, summary, and what is printed above."""


class LiveTable:
    """Shows how far each run is, newest epochs included, until its context ends.

    Args:
        names: what the runs are called.
        run_dirs: where they are written.
        epochs: of each run.
        is_shown: show it, if standard error is a terminal.
    """

    def __init__(self, names: Sequence[str], run_dirs: Sequence[RunDir], epochs: Sequence[int], is_shown: bool) -> None:
        self._rows = list(zip(names, run_dirs, epochs, strict=True))
        self._outcomes: dict[Path, str] = {}
        self._live = None
        if is_shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._console = Console(stderr=True)
            self._live = Live(
                console=self._console,
                get_renderable=self._table,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=True,
                vertical_overflow="ellipsis",
            )

    def __enter__(self) -> LiveTable:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def done(self, run_dir: RunDir, outcome: str) -> None:
        """Note how a run ended."""
        self._outcomes[run_dir.path] = outcome

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        done = [row for row in self._rows if row[1].path in self._outcomes]
        begun = [row for row in self._rows if row[1].path not in self._outcomes and row[1].path.is_dir()]
        table = Table(box=None, pad_edge=False, title_justify="left")
        failed = sum(outcome.startswith("failed") for outcome in self._outcomes.values())
        table.title = f"{len(done)} of {len(self._rows)} runs" + (f", {failed} failed" if failed else "")
        for heading in ("run", "name", "epochs", f"{HEADLINE[0]} %", "state"):
            table.add_column(heading, justify="right" if heading == "epochs" or heading.endswith("%") else "left")
        room = max(self._console.height - LINES_BESIDE - len(begun), 0)
        for name, run_dir, epochs in [*done[len(done) - min(room, len(done)) :], *begun]:
            history = _history(run_dir)
            error = history[-1].get(HEADLINE[0]) if history else None
            table.add_row(
                run_dir.short,
                Text(name),
                f"{len(history)}/{epochs}",
                "–" if error is None else f"{error:.2f}",
                Text(self._outcomes.get(run_dir.path, "training")),
            )
        return table


def _history(run_dir: RunDir) -> list[dict[str, float]]:
    try:
        return run_dir.history()
    except DamagedError:  # the next request for the run mends it
        return []
