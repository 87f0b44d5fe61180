from __future__ import annotations

import pytest

from lenet.core.table import format_table, print_table

ROWS = [("a", "9.50", "first [bold]row[/bold]"), ("bcd", "10.25", "")]


def test_columns_are_aligned_and_markup_is_text() -> None:
    assert format_table(("run", "error %", "state"), ROWS, right={"error %"}).splitlines() == [
        "run  error %  state",
        "a       9.50  first [bold]row[/bold]",
        "bcd    10.25",
    ]


def test_a_pipe_gets_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("run", "state"), [("a", "failed: " + "long " * 60)])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_narrow_terminal_folds_within_the_cell() -> None:
    lines = format_table(("run", "state"), [("a", "one two three")], width=12).splitlines()
    assert lines == ["run  state", "a    one two", "     three"]
