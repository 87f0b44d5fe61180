"""Parallel coordinates: each trial is a line through its parameters to its validation error."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.plots import style
from lenet.evaluation.plots.style import INK, LINE, ORANGE, SOFT
from lenet.search.search_space import Parameter, Space
from lenet.search.searchable_fields import Scalar
from lenet.search.spec import override_value
from lenet.search.trial_records import TrialRecord

INCHES_A_FIELD, MIN_INCHES, MAX_INCHES, HEIGHT = 1.1, 6.0, 16.0, 4.0
MISSING = -0.13  # height at which a line passes a parameter that its trial does not have; an axis is from 0 to 1
BAND = 0.05  # trials of the same value lie beside each other within so much of the axis
LINE_HEIGHT = 0.07  # of an axis' name, as part of the axis
POINTS = 24  # from one axis to the next
NAME_CHARACTERS, VALUE_CHARACTERS = 14, 12
GREY = "#b4bac4"


def draw_parallel(complete: Sequence[TrialRecord], records: Sequence[TrialRecord], space: Space) -> Any:
    """Return the figure: complete trials darker the lower their error, the best in orange, all others grey.

    Args:
        complete: the trials with a finite error, one at least.
        records: all trials.
        space: its parameters are the axes, in its order.
    """
    from matplotlib import colormaps

    columns = len(space.parameters)
    figure = style.figure(min(max(INCHES_A_FIELD * (columns + 1), MIN_INCHES), MAX_INCHES), HEIGHT, "")
    axes = figure.subplots()
    best_last = sorted(complete, key=lambda one: (one.error, one.number), reverse=True)
    others = [one for one in records if one.assignment and one not in complete]
    heights = np.column_stack([_heights(parameter, [*others, *best_last]) for parameter in space.parameters])
    for row in heights[: len(others)]:
        axes.plot(*_smooth(row), color=GREY, linewidth=0.8, alpha=0.6)
    errors = [one.error for one in best_last]
    norm = _norm(min(errors), max(errors), log=min(errors) > 0)
    shades = [*colormaps["Blues"](np.linspace(0.3, 1.0, len(errors)))[:-1], ORANGE]
    for one, row, shade in zip(best_last, heights[len(others) :], shades, strict=True):
        width = 2.4 if one is best_last[-1] else 1.3
        axes.plot(*_smooth(np.append(row, norm(one.error))), color=shade, linewidth=width)
    has_missing = (heights == MISSING).any(axis=0)
    labels = [_label(parameter.name) for parameter in space.parameters]
    for column, parameter in enumerate(space.parameters):
        missing = [(MISSING, "none")] if has_missing[column] else []
        _draw_axis(axes, column, labels[column], [*_marks(parameter), *missing])
    _draw_axis(axes, columns, "validation\nerror", _ticks(norm, " %"), is_last=True)
    grey = "; grey: pruned or failed" if others else ""
    style.style(axes, f"{len(complete)} complete trials, darker is better; orange: best, {errors[-1]:.2f} %{grey}")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(-0.6, columns + 0.4)
    lines = max(2, *(1 + label.count("\n") for label in labels))
    axes.set_ylim(MISSING - 0.05 if has_missing.any() else -0.05, 1.08 + LINE_HEIGHT * lines)
    return figure


def _norm(low: float, high: float, log: bool) -> Any:
    """Return the function from a value of a range to its height."""
    from matplotlib.colors import LogNorm, Normalize

    return LogNorm(low, high) if log else Normalize(low, high)


def _heights(parameter: Parameter, trials: Sequence[TrialRecord]) -> NDArray[np.float64]:
    """Return the height of each trial's line at a parameter, float64 [trials]; equal values lie side by side."""
    choices = [repr(choice) for choice in parameter.choices]
    norm = _norm(0, max(1, len(choices) - 1), log=False)
    norm = norm if choices else _norm(parameter.low, parameter.high, parameter.log)
    found = np.full(len(trials), MISSING)
    for row, one in enumerate(trials):
        if parameter.name in one.assignment:
            value = one.assignment[parameter.name]
            found[row] = norm(choices.index(repr(value)) if choices else value)
    values, groups = np.unique(found, return_inverse=True)
    band = min(BAND, np.diff(values).min() / 3) if len(values) > 1 else BAND
    for group in np.flatnonzero(values != MISSING):
        rows = np.flatnonzero(groups == group)
        if len(rows) > 1:
            found[rows] += np.linspace(band / 2, -band / 2, len(rows))
    return found


def _marks(parameter: Parameter) -> list[tuple[float, str]]:
    """Return heights and texts of the marks on a parameter's axis."""
    if not parameter.choices:
        return _ticks(_norm(parameter.low, parameter.high, parameter.log), "", parameter.is_whole)
    last = max(1, len(parameter.choices) - 1)
    return [(position / last, _short(choice)) for position, choice in enumerate(parameter.choices)]


def _ticks(norm: Any, unit: str, is_whole: bool = False) -> list[tuple[float, str]]:
    """Return heights and texts of round numbers in a range."""
    from matplotlib import ticker
    from matplotlib.colors import LogNorm

    low, high = norm.vmin, norm.vmax
    ratio = high / low if isinstance(norm, LogNorm) else 1.0
    locator: ticker.Locator = ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=is_whole)
    if ratio >= style.FEW_TICKS:
        locator = ticker.LogLocator(subs=(1.0,) if ratio > 1000 else (1.0, 2.0, 5.0))
    margin = 1e-9 * (high - low)
    inside = [float(tick) for tick in locator.tick_values(low, high) if low - margin <= tick <= high + margin]
    values = inside if len(inside) > 1 else sorted({low, high})
    return [(float(norm(value)), f"{value:.4g}{unit}") for value in values]


def _smooth(heights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a line through the heights that is level at each, so that one can follow it across an axis."""
    if len(heights) == 1:
        return np.array([-0.1, 0.1]), np.repeat(heights, 2)
    x = np.linspace(0, len(heights) - 1, POINTS * (len(heights) - 1) + 1)
    left = np.minimum(x.astype(int), len(heights) - 2)
    part = x - left
    return x, heights[left] + (heights[left + 1] - heights[left]) * part * part * (3 - 2 * part)


def _draw_axis(axes: Any, column: int, label: str, marks: Sequence[tuple[float, str]], is_last: bool = False) -> None:
    from matplotlib.patheffects import withStroke

    axes.plot([column, column], [0, 1], color=LINE, linewidth=1.4, zorder=3)
    axes.text(column, 1.06, label, ha="center", va="bottom", fontsize=8, color=SOFT)
    x, side = (column + 0.06, "left") if is_last else (column - 0.06, "right")
    outline = [withStroke(linewidth=2.5, foreground="white")]  # legible where lines cross a number
    for height, text in marks:
        axes.text(x, height, text, ha=side, va="center", fontsize=8, color=INK, zorder=6, path_effects=outline)


def _label(name: str) -> str:
    """Return a dotted name as short lines: its group, then its last part broken at underscores."""
    *groups, last = style.clean(name, 60).split(".")
    lines = textwrap.wrap(last.replace("_", "_ "), NAME_CHARACTERS, max_lines=3, placeholder="…")
    return "\n".join([*groups[-1:], *(line.replace("_ ", "_") for line in lines)])


def _short(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else style.clean(override_value(value), VALUE_CHARACTERS)
