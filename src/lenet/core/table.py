"""Tables for a terminal, a pipe and a log."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence

PIPE_WIDTH = 1000
"""Columns of what is no terminal: a table that is folded for a pipe is no table."""


def format_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = (), width: int = PIPE_WIDTH
) -> str:
    """Return a table as text, without a line end at its end.

    Args:
        headings: one a column.
        rows: cells as text, as many in each row as there are headings.
        right: the headings of the columns that are aligned right; the others are aligned left.
        width: columns of characters; what is wider is folded within its cell.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(Text(heading), justify="right" if heading in right else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # a Text is shown as it is: [..] is no markup in it
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> None:
    """Print a table on standard output; arguments as those of `format_table`."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    print(format_table(headings, rows, right, width))
