"""The pictures of how good a network is beyond its error: calibration, recall of each class, robustness."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet.evaluation.calibration import ReliabilityBin
from lenet.evaluation.metrics import CONFIDENCE, PERCENT, ClassRecall
from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import BLUE, CYCLE, DASHES, ORANGE, SOFT
from lenet.evaluation.plots.variants import NAME_CHARACTERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lenet.evaluation.robustness import Curve

PANEL_COLUMNS = 3
MAX_BARS = 3  # models whose intervals are told apart in one panel
THIN: dict[str, Any] = {"color": BLUE, "linewidth": 0.9, "alpha": 0.45}
CLASS_WIDTH = 0.6  # of the place between two classes, shared by the models
TICKED_CLASSES = 30  # more class numbers would run into each other
MIN_RECALL_SPAN = 1.0  # percentage points that the recall axis shows at least: less would make chance look like news


def _colour(number: int) -> str:
    return CYCLE[number % len(CYCLE)]


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:.4g} %")


def _bar(confidence: float) -> str:
    return f"Bar: exact {PERCENT * confidence:g} % interval"


def _beside(axes: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    if handles:
        canvas.legend(axes, handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def _estimates(axes: Axes, places: Sequence[Any], found: Sequence[Any], what: str, colour: str) -> list[Any]:
    """Draw a dot for each estimate and a bar for its interval; return the dots, for the legend."""
    low, high = zip(*(each.interval for each in found), strict=True)
    axes.vlines(places, low, high, color=colour, linewidth=2, alpha=0.45)
    return axes.plot(places, [getattr(each, what) for each in found], "o", color=colour, markersize=4.5)


def reliability_diagram(
    models: Mapping[str, Sequence[ReliabilityBin]], path: Path, title: str, confidence: float = CONFIDENCE
) -> None:
    """Draw accuracy over confidence, and under it how many images have that confidence.

    A few models have their exact intervals. Of more each is a thin line, for the bars would hide each other, and a
    thick one counts their images together.

    Args:
        models: for each model its bins, as `reliability` returns them.
        path: the PNG.
        title: any text.
        confidence: that the bins' intervals were made with.
    """
    figure = canvas.figure(7.6, 5.6, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = {name: [each for each in bins if each.images] for name, bins in models.items()}
    if not any(filled.values()):
        below.set_axis_off()
        canvas.sentence(above, "No image was read yet.")
        return canvas.save(figure, path)
    told = {name: bins for name, bins in filled.items() if bins}
    has_bars = len(told) <= MAX_BARS
    lines = _bar(confidence) if has_bars else f"Thin: each of n = {len(told)}   Thick: all together"
    canvas.style(above, f"{lines}   Below the diagonal: surer than right", "", "read right")
    canvas.style(below, "", "confidence", "images")
    above.plot([0, PERCENT], [0, PERCENT], "--", color=SOFT, linewidth=1)
    if has_bars:
        handles = [
            line
            for number, bins in enumerate(told.values())
            for line in _estimates(above, [each.confidence for each in bins], bins, "accuracy", _colour(number))
        ]
        _beside(above, handles, [canvas.clean(name, NAME_CHARACTERS) for name in told])
    else:
        for bins in told.values():
            above.plot([each.confidence for each in bins], [each.accuracy for each in bins], **THIN)
        above.plot(*_together(told.values()), "-o", color=ORANGE, linewidth=2, markersize=4.5)
    for number, every in enumerate(bins for bins in models.values() if any(each.images for each in bins)):
        edges = [each.low for each in every] + [every[-1].high]
        look = {"color": _colour(number), "linewidth": 1.5} if has_bars else THIN
        below.stairs([each.images for each in every], edges, **look)
    below.set_yscale("log")
    below.yaxis.minorticks_off()
    below.set_ylim(bottom=0.7)  # so that a bin with a single image has a height
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    above.set_xlim(0, PERCENT)
    above.set_ylim(-2, PERCENT + 2)
    _percent_axis(above.yaxis)
    _percent_axis(above.xaxis)
    return canvas.save(figure, path)


def _together(models: Iterable[Sequence[ReliabilityBin]]) -> tuple[list[float], list[float]]:
    """Return mean confidence and accuracy of each bin, the models' images counted together."""
    by_bin: dict[float, list[ReliabilityBin]] = {}
    for each in (each for bins in models for each in bins):
        by_bin.setdefault(each.low, []).append(each)
    held = [by_bin[low] for low in sorted(by_bin)]
    images = [[each.images for each in bins] for bins in held]
    return (
        [
            float(np.average([each.confidence for each in bins], weights=n))
            for bins, n in zip(held, images, strict=True)
        ],
        [float(np.average([each.accuracy for each in bins], weights=n)) for bins, n in zip(held, images, strict=True)],
    )


def recall_by_class(
    models: Mapping[str, Sequence[ClassRecall]], path: Path, title: str, confidence: float = CONFIDENCE
) -> None:
    """Draw each class's recall with its exact interval, the models side by side.

    Args:
        models: for each model its classes, as `class_recalls` returns them; a class without images is left out.
        path: the PNG.
        title: any text.
        confidence: that the classes' intervals were made with.
    """
    figure = canvas.figure(8.6, 3.6, title)
    axes = figure.subplots()
    handles: list[Any] = []
    names, labels, lowest = [], [0], PERCENT
    step = CLASS_WIDTH / max(len(models), 1)
    for number, (name, recalls) in enumerate(models.items()):
        seen = [each for each in recalls if each.interval is not None]
        if not seen:
            continue
        places = [each.label + (number - (len(models) - 1) / 2) * step for each in seen]
        handles += _estimates(axes, places, seen, "recall", _colour(number))
        names.append(canvas.clean(name, NAME_CHARACTERS))
        labels += [each.label for each in seen]
        lowest = min([lowest] + [each.interval[0] for each in seen if each.interval])
    if not handles:
        canvas.sentence(axes, "No image was read yet.")
        return canvas.save(figure, path)
    canvas.style(axes, f"Recall of each class: read right, of its images   {_bar(confidence)}", "class")
    axes.grid(visible=False, axis="x")
    if max(labels) < TICKED_CLASSES:
        axes.set_xticks(range(max(labels) + 1))
    axes.set_xlim(-0.6, max(labels) + 0.6)
    span = max(PERCENT - lowest, MIN_RECALL_SPAN)
    axes.set_ylim(max(PERCENT - 1.05 * span, -0.02 * span), PERCENT + 0.03 * span)
    _percent_axis(axes.yaxis)
    _beside(axes, handles, names)
    return canvas.save(figure, path)


def robustness_curves(variants: Mapping[str, Sequence[Sequence[Curve]]], path: Path, title: str) -> None:
    """Draw error over strength, a panel for each distortion and a line for each variant, on one logarithmic scale.

    Args:
        variants: for each variant the curves of each of its seeds, as `robustness` returns them: a line is the mean
            over the seeds, a band runs from the lowest to the highest. All of them have the same levels.
        path: the PNG.
        title: any text.
    """
    measured = {name: seeds for name, seeds in variants.items() if seeds and seeds[0]}
    kinds = [curve.distortion for curve in next(iter(measured.values()))[0]] if measured else []
    rows = max(1, -(-len(kinds) // PANEL_COLUMNS))
    figure = canvas.figure(9.8, 0.8 + 2.5 * rows, title)
    panels = figure.subplots(rows, PANEL_COLUMNS, squeeze=False, sharey=bool(kinds))
    for axes in panels.flat[len(kinds) :]:
        axes.set_axis_off()
    if not kinds:
        canvas.sentence(panels[0, 1], "No variant was distorted yet.")
        return canvas.save(figure, path)
    every = [error for seeds in measured.values() for curves in seeds for curve in curves for error in curve.errors]
    for place, kind in enumerate(kinds):
        axes = panels.flat[place]
        handles: list[Any] = []
        for number, seeds in enumerate(measured.values()):
            levels = seeds[0][place].levels
            errors = np.array([curves[place].errors for curves in seeds])
            dashes = DASHES[number // len(CYCLE) % len(DASHES)]
            axes.fill_between(levels, errors.min(axis=0), errors.max(axis=0), color=_colour(number), alpha=0.2, lw=0)
            look = {"color": _colour(number), "linewidth": 1.5, "marker": "o", "markersize": 2.5}
            handles += axes.plot(levels, errors.mean(axis=0), dashes, **look)
        first = "error" if place % PANEL_COLUMNS == 0 else ""
        canvas.style(axes, kind[0].upper() + kind[1:], seeds[0][place].unit, first)
        canvas.scale(axes, every, " %")
    names = [f"{canvas.clean(name, NAME_CHARACTERS)} (n = {len(seeds)})" for name, seeds in measured.items()]
    corner = panels[0, min(len(kinds), PANEL_COLUMNS) - 1]
    _beside(corner, handles, names)
    images = next(iter(measured.values()))[0][0].images
    note = f"{images:,} images\nLine: mean of n seeds\nBand: lowest to highest"
    corner.text(1.05, 0.0, note, transform=corner.transAxes, va="bottom", fontsize=8.5, color=SOFT)
    return canvas.save(figure, path)
