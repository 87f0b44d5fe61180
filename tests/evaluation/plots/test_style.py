"""The ticks of a logarithmic axis: round numbers, also below one percent, and none on top of another."""

from __future__ import annotations

import pytest

from lenet.evaluation.plots.style import figure, log_ticks, scale


@pytest.mark.parametrize(
    ("low", "high", "gap", "expected"),
    [
        (0.55, 85, 0.05, [0.6, 1, 1.5, 2, 5, 10, 20, 50]),
        (0.5, 5, 0.05, [0.5, 0.6, 0.7, 0.8, 1, 1.5, 2, 5]),
        (0.62, 4.1, 0.05, [0.7, 0.8, 1, 1.5, 2]),
        (2.1, 80, 0.05, [3, 4, 5, 6, 10, 20, 50]),
        (0.001, 1000, 0.2, [0.001, 0.1, 10, 1000]),
    ],
)
def test_ticks_are_round_and_dense_where_the_axis_begins(
    low: float, high: float, gap: float, expected: list[float]
) -> None:
    assert log_ticks(low, high, gap) == expected


def test_errors_have_ticks_below_one_percent() -> None:
    axes = figure(8.6, 4.2, "x").subplots()
    scale(axes, [0.55, 0.7, 3.0, 85.0], " %")
    shown = [tick for tick in axes.get_yticks() if tick < 1]
    assert shown == [0.6]
    assert axes.yaxis.get_major_formatter()(0.6) == "0.6 %"


def test_errors_of_a_few_percent_and_less_have_ticks_where_most_lie() -> None:
    axes = figure(8.6, 3.9, "x").subplots()
    scale(axes, [0.6, 0.7, 0.84, 3.15], " %")  # a search's trials
    assert {0.6, 0.8, 1.0, 2.0} <= set(axes.get_yticks())
