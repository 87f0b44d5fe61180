"""Parallel coordinates: each trial is a line through its parameters to its validation error."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.plots import style
from lenet.evaluation.plots.style import INK, LINE, ORANGE, SOFT
from lenet.search.search_space import Parameter, Space
from lenet.search.searchable_fields import Scalar
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

    width = min(max(INCHES_A_FIELD * (len(space.parameters) + 1), MIN_INCHES), MAX_INCHES)
    figure = style.figure(width, HEIGHT, "")
    axes = figure.subplots()
    best_last = sorted(complete, key=lambda one: (one.error, one.number), reverse=True)
    others = [one for one in records if one.assignment and one not in complete]
    heights = np.column_stack([_heights(parameter, [*others, *best_last]) for parameter in space.parameters])
    for row in heights[: len(others)]:
        axes.plot(*_smooth(row), color=GREY, linewidth=0.8, alpha=0.6)
    errors = [one.error for one in best_last]
    scale = _Scale(min(errors), max(errors), log=min(errors) > 0)
    shades = [*colormaps["Blues"](np.linspace(0.3, 1.0, len(errors)))[:-1], ORANGE]
    for one, row, shade in zip(best_last, heights[len(others) :], shades, strict=True):
        is_best = one is best_last[-1]
        axes.plot(*_smooth(np.append(row, scale.height(one.error))), color=shade, linewidth=2.4 if is_best else 1.3)
    has_missing = (heights == MISSING).any(axis=0)
    for column, parameter in enumerate(space.parameters):
        marks = [(_height(parameter, value), _short(value)) for value in parameter.choices]
        marks = marks or _Scale(parameter.low, parameter.high, parameter.log, parameter.is_whole).ticks("")
        _axis(axes, column, _label(parameter.name), [*marks, *([(MISSING, "none")] if has_missing[column] else [])])
    _axis(axes, len(space.parameters), "validation\nerror", scale.ticks(" %"), side="left")
    grey = "; grey: pruned or failed" if others else ""
    style.style(axes, f"{len(complete)} complete trials, darker is better; orange: best, {errors[-1]:.2f} %{grey}")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(-0.6, len(space.parameters) + 0.4)
    lines = 1 + max(_label(parameter.name).count("\n") for parameter in space.parameters)
    axes.set_ylim(MISSING - 0.05 if has_missing.any() else -0.05, 1.08 + LINE_HEIGHT * max(lines, 2))
    return figure


class _Scale:
    """Heights from 0 to 1 for the values of a range."""

    def __init__(self, low: float, high: float, log: bool, is_whole: bool = False) -> None:
        self._low, self._high, self._log, self._is_whole = low, high, log, is_whole

    def height(self, value: float) -> float:
        if self._low == self._high:
            return 0.5
        if self._log:
            return math.log(value / self._low) / math.log(self._high / self._low)
        return (value - self._low) / (self._high - self._low)

    def ticks(self, unit: str) -> list[tuple[float, str]]:
        """Return heights and texts of round numbers in the range."""
        from matplotlib import ticker

        ratio = self._high / self._low if self._log else 1.0
        locator: ticker.Locator = ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=self._is_whole)
        if ratio >= style.FEW_TICKS:
            locator = ticker.LogLocator(subs=(1.0,) if ratio > 1000 else (1.0, 2.0, 5.0))
        found = [float(tick) for tick in locator.tick_values(self._low, self._high)]
        inside = [tick for tick in found if self._low <= tick * (1 + 1e-9) and tick <= self._high * (1 + 1e-9)]
        values = inside if len(inside) > 1 else sorted({self._low, self._high})
        return [(self.height(value), f"{value:.4g}{unit}") for value in values]


def _height(parameter: Parameter, value: Scalar) -> float:
    if parameter.choices:
        position = [repr(choice) for choice in parameter.choices].index(repr(value))
        return position / (len(parameter.choices) - 1) if len(parameter.choices) > 1 else 0.5
    return _Scale(parameter.low, parameter.high, parameter.log).height(float(value))  # type: ignore[arg-type]


def _heights(parameter: Parameter, trials: Sequence[TrialRecord]) -> NDArray[np.float64]:
    """Return the height of each trial's line at a parameter, float64 [trials]; equal values lie side by side."""
    name = parameter.name
    found = np.array(
        [_height(parameter, one.assignment[name]) if name in one.assignment else MISSING for one in trials]
    )
    values, groups = np.unique(found, return_inverse=True)
    band = min(BAND, np.diff(values).min() / 3) if len(values) > 1 else BAND
    for group in np.flatnonzero(values != MISSING):
        rows = np.flatnonzero(groups == group)
        if len(rows) > 1:
            found[rows] += np.linspace(band / 2, -band / 2, len(rows))
    return found


def _smooth(heights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a line through the heights that is level at each, so that one can follow it across an axis."""
    if len(heights) == 1:
        return np.array([-0.1, 0.1]), np.repeat(heights, 2)
    x = np.linspace(0, len(heights) - 1, POINTS * (len(heights) - 1) + 1)
    left = np.minimum(x.astype(int), len(heights) - 2)
    part = x - left
    return x, heights[left] + (heights[left + 1] - heights[left]) * part * part * (3 - 2 * part)


def _axis(axes: Any, column: int, label: str, marks: Sequence[tuple[float, str]], side: str = "right") -> None:
    from matplotlib.patheffects import withStroke

    axes.plot([column, column], [0, 1], color=LINE, linewidth=1.4, zorder=3)
    axes.text(column, 1.06, label, ha="center", va="bottom", fontsize=8, color=SOFT)
    outline = [withStroke(linewidth=2.5, foreground="white")]  # legible where lines cross a number
    look: dict[str, Any] = {"ha": side, "va": "center", "fontsize": 8, "color": INK, "path_effects": outline}
    for height, text in marks:
        axes.text(column + (0.06 if side == "left" else -0.06), height, text, zorder=6, **look)


def _label(name: str) -> str:
    """Return a dotted name as short lines: its group, then its last part broken at underscores."""
    *groups, last = style.clean(name, 60).split(".")
    lines = textwrap.wrap(last.replace("_", "_ "), NAME_CHARACTERS, max_lines=3, placeholder="…")
    return "\n".join([*groups[-1:], *(line.replace("_ ", "_") for line in lines)])


def _short(value: Scalar) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else style.clean(str(value), VALUE_CHARACTERS)
