"""The pictures of what is measured beside the error: calibration, recall of each class, robustness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

RELIABILITY, RECALL, ROBUSTNESS = "reliability.png", "recall.png", "robustness.png"

PANEL_COLUMNS = 3
THIN: dict[str, Any] = {"color": BLUE, "linewidth": 0.9, "alpha": 0.45}
CLASS_WIDTH = 0.6  # of the space between two classes, shared by the models
TICKED_CLASSES = 30  # more class names would run into each other
CLASS_CHARACTERS = 12
MIN_RECALL_SPAN = 1.0  # percentage points that the recall axis shows at least: less would make chance look like news


def draw_quality(
    plots: Path,
    qualities: Mapping[str, Sequence[dict[str, Any]]],
    chosen: str,
    classes: Sequence[str],
    confidence: float,
) -> None:
    """Draw calibration and recall of the chosen variant's networks, and the robustness of every variant.

    Args:
        plots: folder of the pictures.
        qualities: for each variant the second row that `evaluate_model` returns for each seed.
        chosen: the variant that was chosen on validation.
        classes: the names of the classes.
        confidence: that the intervals were made with.
    """
    from lenet.evaluation.robustness import Curve

    own = {f"seed {one['seed']}": one for one in qualities[chosen]}
    bins = [[ReliabilityBin(**body) for body in one["reliability"]] for one in own.values()]
    reliability_diagram(bins, plots / RELIABILITY, f"{chosen}: is it as often right as it is sure?")
    recalls = {seed: [ClassRecall(**body) for body in one["recalls"]] for seed, one in own.items()}
    recall_by_class(recalls, classes, plots / RECALL, f"{chosen}: recall of each class", confidence)
    curves = {
        name: [[Curve(**body) for body in one["robustness"]] for one in found] for name, found in qualities.items()
    }
    robustness_curves(curves, plots / ROBUSTNESS, "Test error of perturbed images")


def _colour(number: int) -> str:
    return CYCLE[number % len(CYCLE)]


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{value:.4g} %")


def _legend_outside(axes: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    canvas.legend(axes, handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def reliability_diagram(models: Sequence[Sequence[ReliabilityBin]], path: Path, title: str) -> None:
    """Draw accuracy over confidence, and under it how many images have that confidence.

    Args:
        models: for each network its bins, as `reliability` returns them: a thin line; a thick one pools their images.
        path: the PNG.
        title: any text.
    """
    figure = canvas.figure(7.6, 5.6, title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    models = [bins for bins in models if any(each.images for each in bins)]
    if not models:
        below.set_axis_off()
        canvas.sentence(above, "No image was classified yet.")
        return canvas.save(figure, path)
    heading = f"Thin: each of n = {len(models)} networks   Thick: all together   Below the diagonal: surer than right"
    canvas.style(above, heading, "", "accuracy")
    canvas.style(below, "", "confidence", "images")
    above.plot([0, PERCENT], [0, PERCENT], "--", color=SOFT, linewidth=1)
    for bins in models:
        filled = [each for each in bins if each.images]
        above.plot([each.confidence for each in filled], [each.accuracy for each in filled], **THIN)
        below.stairs([each.images for each in bins], [each.low for each in bins] + [bins[-1].high], **THIN)
    above.plot(*pooled(models), "-o", color=ORANGE, linewidth=2, markersize=4.5)
    below.set_yscale("log")
    below.yaxis.minorticks_off()
    below.set_ylim(bottom=0.7)  # so that a bin with a single image has a height
    below.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    above.set_xlim(0, PERCENT)
    above.set_ylim(-2, PERCENT + 2)
    _percent_axis(above.yaxis)
    _percent_axis(above.xaxis)
    return canvas.save(figure, path)


def pooled(models: Sequence[Sequence[ReliabilityBin]]) -> tuple[list[float], list[float]]:
    """Return mean confidence and accuracy of each bin in percent, the images of all models counted together."""
    confidences, accuracies = [], []
    for bins in zip(*models, strict=True):
        images = [each.images for each in bins]
        if any(images):
            confidences.append(float(np.average([each.confidence or 0.0 for each in bins], weights=images)))
            accuracies.append(float(np.average([each.accuracy or 0.0 for each in bins], weights=images)))
    return confidences, accuracies


def recall_by_class(
    models: Mapping[str, Sequence[ClassRecall]],
    classes: Sequence[str],
    path: Path,
    title: str,
    confidence: float = CONFIDENCE,
) -> None:
    """Draw each class's recall with its exact interval, the models side by side.

    Args:
        models: for each model its classes, as `class_recalls` returns them; a class without images is left out.
        classes: their names.
        path: the PNG.
        title: any text.
        confidence: that the classes' intervals were made with.
    """
    figure = canvas.figure(8.6, 3.6, title)
    axes = figure.subplots()
    handles: list[Any] = []
    names, lowest = [], PERCENT
    step = CLASS_WIDTH / max(len(models), 1)
    for number, (name, recalls) in enumerate(models.items()):
        seen = [(each, each.interval) for each in recalls if each.interval is not None]
        if not seen:
            continue
        x = [each.label + (number - (len(models) - 1) / 2) * step for each, _ in seen]
        low, high = [interval[0] for _, interval in seen], [interval[1] for _, interval in seen]
        axes.vlines(x, low, high, color=_colour(number), linewidth=2, alpha=0.45)
        handles += axes.plot(x, [each.recall or 0.0 for each, _ in seen], "o", color=_colour(number), markersize=4.5)
        names.append(canvas.clean(name, NAME_CHARACTERS))
        lowest = min(lowest, *low)
    if not handles:
        canvas.sentence(axes, "No image was classified yet.")
        return canvas.save(figure, path)
    canvas.style(
        axes, f"Dot: recall, right of the class's images   Bar: exact {PERCENT * confidence:g} % interval", "class"
    )
    axes.grid(visible=False, axis="x")
    if len(classes) <= TICKED_CLASSES:
        ticks = [canvas.clean(name, CLASS_CHARACTERS) for name in classes]
        turned = 90 if max(map(len, ticks)) * len(ticks) > 80 else 0  # so many characters fit beside each other
        axes.set_xticks(range(len(ticks)), ticks, rotation=turned, parse_math=False)
    axes.set_xlim(-0.6, len(classes) - 0.4)
    span = max(PERCENT - lowest, MIN_RECALL_SPAN)
    axes.set_ylim(max(PERCENT - 1.05 * span, -0.02 * span), PERCENT + 0.03 * span)
    _percent_axis(axes.yaxis)
    _legend_outside(axes, handles, names)
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
    kinds = next(iter(measured.values()))[0] if measured else []
    rows = max(1, -(-len(kinds) // PANEL_COLUMNS))
    figure = canvas.figure(9.8, 0.8 + 2.5 * rows, title)
    panels = figure.subplots(rows, PANEL_COLUMNS, squeeze=False, sharey=bool(kinds))
    for axes in panels.flat[len(kinds) :]:
        axes.set_axis_off()
    if not kinds:
        canvas.sentence(panels[0, 1], "No variant was measured yet.")
        return canvas.save(figure, path)
    every = [error for seeds in measured.values() for curves in seeds for curve in curves for error in curve.errors]
    for panel, kind in enumerate(kinds):
        axes = panels.flat[panel]
        handles: list[Any] = []
        for number, seeds in enumerate(measured.values()):
            errors = np.array([curves[panel].errors for curves in seeds])
            dashes = DASHES[number // len(CYCLE) % len(DASHES)]
            colour = _colour(number)
            axes.fill_between(kind.levels, errors.min(axis=0), errors.max(axis=0), color=colour, alpha=0.2, lw=0)
            line: dict[str, Any] = {"color": colour, "linewidth": 1.5, "marker": "o", "markersize": 2.5}
            handles += axes.plot(kind.levels, errors.mean(axis=0), dashes, **line)
        heading = kind.distortion[0].upper() + kind.distortion[1:]
        canvas.style(axes, heading, kind.unit, "error" if panel % PANEL_COLUMNS == 0 else "")
        canvas.scale(axes, every, " %")
    names = [f"{canvas.clean(name, NAME_CHARACTERS)} (n = {len(seeds)})" for name, seeds in measured.items()]
    corner = panels[0, min(len(kinds), PANEL_COLUMNS) - 1]
    _legend_outside(corner, handles, names)
    note = f"{kinds[0].images:,} images\nLine: mean of n seeds\nBand: lowest to highest"
    corner.text(1.05, 0.0, note, transform=corner.transAxes, va="bottom", fontsize=8.5, color=SOFT)
    return canvas.save(figure, path)
