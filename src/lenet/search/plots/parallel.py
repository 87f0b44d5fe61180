"""Parallel coordinates: every trial a line through its values, so that one sees where the good ones went."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import INK, LINE, ORANGE, SOFT
from lenet.search.objective import MEASURE
from lenet.search.parameter import Parameter, Scalar, Space
from lenet.search.plots.history import best_of, complete
from lenet.search.plots.labels import field_lines, ticks, value_text
from lenet.search.trial_records import TrialRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES_A_FIELD, NARROWEST, WIDEST, HEIGHT = 1.0, 6.0, 14.0, 4.3
MISSING = -0.13  # height at which a line passes a field that its trial does not have; the axis is from 0 to 1
BAND = 0.05  # trials of the same value lie beside each other within so much of the axis
CURVE_POINTS = 24  # from one axis to the next
LINE_HEIGHT = 0.062  # of an axis' name, as part of the axis
GREY = "#b4bac4"
FADED, DARK = 0.3, 1.0  # part of the colour map that is used: the better, the darker


@dataclass(frozen=True)
class Coordinate:
    """One vertical axis.

    Attributes:
        lines: its name.
        place: where a value is on it, from 0 to 1.
        marks: its ticks: place and text.
    """

    lines: Sequence[str]
    place: Callable[[Scalar], float]
    marks: Sequence[tuple[float, str]]


def parallel_coordinates(found: Sequence[TrialRecord], space: Space, path: Path, title: str) -> None:
    """Draw each trial as a line through its values, complete ones darker the lower their error, the best in orange.

    Args:
        found: the trials; those without a final error are thin grey lines that end before the last axis.
        space: its fields are the axes, in its order; a field that a trial does not have is passed under its axis.
        path: the PNG.
        title: any text.
    """
    width = min(max(INCHES_A_FIELD * (len(space.parameters) + 1) + 0.6, NARROWEST), WIDEST)
    figure = canvas.figure(width, HEIGHT, title)
    axes = figure.subplots()
    shown = [one for one in found if one.assignment]
    if not shown:
        canvas.sentence(axes, "No trial has values yet.")
        return canvas.save(figure, path)
    usable = sorted(complete(shown), key=lambda one: one.error, reverse=True)
    others = [one for one in shown if one not in usable]
    coordinates = [_coordinate(parameter) for parameter in space.parameters]
    places = _places(others + usable, space, coordinates)
    missing = (places == MISSING).any(axis=0)
    if usable:
        errors = [one.error for one in usable]
        coordinates.append(_range(["validation", "error"], errors, log=min(errors) > 0, unit=" %"))
    for row in places[: len(others)]:
        axes.plot(*_curve(row), color=GREY, linewidth=0.8, alpha=0.6, solid_capstyle="round")
    best = best_of(usable)
    _draw_complete(axes, usable, best, places[len(others) :], coordinates[-1].place)
    _draw_axes(axes, coordinates, missing)
    told = f"; orange: the best, {best.error:.2f} %" if best else ""
    blue = f"{len(usable)} complete, the darker the better{told}" if usable else "None complete"
    grey = "   Grey: ended early, failed, or not ended" if others else ""
    canvas.style(axes, f"{blue}{grey}")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    return canvas.save(figure, path)


def _coordinate(parameter: Parameter) -> Coordinate:
    lines = field_lines(parameter.name)
    if not parameter.choices:
        return _range(lines, [parameter.low, parameter.high], parameter.log, parameter.is_whole)
    last = len(parameter.choices) - 1
    heights = {repr(choice): number / last if last else 0.5 for number, choice in enumerate(parameter.choices)}
    marks = [(heights[repr(choice)], value_text(choice)) for choice in parameter.choices]
    return Coordinate(lines, lambda value: heights.get(repr(value), MISSING), marks)


def _range(lines: Sequence[str], seen: Sequence[float], log: bool, whole: bool = False, unit: str = "") -> Coordinate:
    low, high = min(seen), max(seen)

    def place(value: Scalar) -> float:
        number = float(value)  # type: ignore[arg-type]  # a range has numbers
        if low == high:
            return 0.5
        if log:
            return math.log(number / low) / math.log(high / low)
        return (number - low) / (high - low)

    return Coordinate(lines, place, [(place(tick), f"{tick:.4g}{unit}") for tick in ticks(seen, log, whole)])


def _places(trials: Sequence[TrialRecord], space: Space, coordinates: Sequence[Coordinate]) -> NDArray[np.float64]:
    """Return where each trial's line passes each field, float64 [trials, fields]; equal values lie side by side."""
    places = np.full((len(trials), len(coordinates)), MISSING)
    for column, (parameter, coordinate) in enumerate(zip(space.parameters, coordinates, strict=True)):
        for row, one in enumerate(trials):
            if parameter.name in one.assignment:
                places[row, column] = coordinate.place(one.assignment[parameter.name])
        values, groups = np.unique(places[:, column], return_inverse=True)
        room = min(BAND, np.diff(values).min() / 3) if len(values) > 1 else BAND
        for group, value in enumerate(values):
            rows = np.flatnonzero(groups == group)
            if len(rows) > 1 and value != MISSING:
                places[rows, column] += np.linspace(room / 2, -room / 2, len(rows))
    return places


def _curve(heights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a line through the heights that is level at each, so that one can follow it across an axis."""
    if len(heights) == 1:
        return np.array([-0.1, 0.1]), np.repeat(heights, 2)
    x = np.linspace(0, len(heights) - 1, CURVE_POINTS * (len(heights) - 1) + 1)
    left = np.minimum(x.astype(int), len(heights) - 2)
    part = x - left
    return x, heights[left] + (heights[left + 1] - heights[left]) * part * part * (3 - 2 * part)


def _draw_complete(
    axes: Axes,
    usable: Sequence[TrialRecord],
    best: TrialRecord | None,
    places: NDArray[np.float64],
    place: Callable[[Scalar], float],
) -> None:
    from matplotlib import colormaps

    shades = colormaps["Blues"](np.linspace(FADED, DARK, len(usable)))
    for one, row, shade in zip(usable, places, shades, strict=True):
        is_best = one is best
        height = place(one.values[MEASURE])
        look = {"color": ORANGE, "linewidth": 2.4, "zorder": 5} if is_best else {"color": shade, "linewidth": 1.3}
        axes.plot(*_curve(np.append(row, height)), solid_capstyle="round", **look)
        axes.plot([len(row)], [height], "o", markersize=6 if is_best else 4, clip_on=False, **look)


def _draw_axes(axes: Axes, coordinates: Sequence[Coordinate], missing: NDArray[np.bool_]) -> None:
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=2.5, foreground="white")]  # a number stays legible where lines cross it
    look: dict[str, Any] = {"fontsize": 8, "color": INK, "zorder": 6, "path_effects": outline}
    last = len(coordinates) - 1
    for column, coordinate in enumerate(coordinates):
        axes.plot([column, column], [0, 1], color=LINE, linewidth=1.4, zorder=3)
        axes.text(column, 1.06, "\n".join(coordinate.lines), ha="center", va="bottom", fontsize=8, color=SOFT)
        is_field = column < len(missing)
        place, side = (column - 0.06, "right") if is_field else (column + 0.1, "left")
        for height, text in coordinate.marks:
            axes.text(place, height, text, ha=side, va="center", **look)
        if is_field and missing[column]:
            axes.text(column, MISSING - 0.03, "without", ha="center", va="top", **look | {"color": SOFT})
    lines = max(len(coordinate.lines) for coordinate in coordinates)
    axes.set_xlim(-0.5, last + 0.5)
    axes.set_ylim(MISSING - 0.1 if missing.any() else -0.04, 1.06 + LINE_HEIGHT * lines)
