"""The pictures of a comparison of variants, each a PNG that explains itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet.evaluation.metrics import CONFIDENCE, PERCENT
from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import BLUE, CYCLE, DASHES, INK, MARKED_EPOCHS, ORANGE, History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME_CHARACTERS = 36
SEED_SPREAD = 0.3  # of the height between two variants, to either side of their line
DOT: dict[str, Any] = {"color": BLUE, "markersize": 4.5, "alpha": 0.7, "markeredgewidth": 0}


@dataclass(frozen=True)
class VariantErrors:
    """The test errors of one variant's runs.

    Attributes:
        variant: its name.
        errors: misclassified images, one count for each seed.
        images: images in the test set, the same for each seed.
        interval: of the error over images and seeds (`images_and_seeds.error_interval`), low and high in percent.
    """

    variant: str
    errors: Sequence[int]
    images: int
    interval: tuple[float, float]


def compare_curves(curves: Mapping[str, Sequence[History]], path: Path, title: str) -> None:
    """Draw each variant's validation error over the epochs: mean of its seeds as a line, from lowest to highest a band.

    Args:
        curves: for each variant the history of each of its seeds, as `learning_curves` takes it. Where seeds
            ended at different epochs, an epoch's mean is that of the seeds which reached it.
        path: the PNG.
        title: any text.
    """
    figure = canvas.figure(8.6, 4.2, title)
    axes = figure.subplots()
    handles, names, seen, reached = [], [], [], []
    for number, (variant, histories) in enumerate(curves.items()):
        by_epoch: dict[float, list[float]] = {}
        measured = [canvas.series(history, "val/error") for history in histories]
        for epoch, error in ((e, v) for series in measured for e, v in zip(*series, strict=True) if np.isfinite(v)):
            by_epoch.setdefault(epoch, []).append(error)
        if not by_epoch:
            continue
        epochs = sorted(by_epoch)
        means = [float(np.mean(by_epoch[epoch])) for epoch in epochs]
        colour, dashes = CYCLE[number % len(CYCLE)], DASHES[number // len(CYCLE) % len(DASHES)]
        dot = "o" if len(epochs) <= MARKED_EPOCHS else ""
        low, high = [min(by_epoch[epoch]) for epoch in epochs], [max(by_epoch[epoch]) for epoch in epochs]
        axes.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
        handles += axes.plot(epochs, means, dashes, color=colour, linewidth=1.7, marker=dot, markersize=3)
        seeds = sum(bool(series[0]) for series in measured)
        names.append(f"{canvas.clean(variant, NAME_CHARACTERS)} (n = {seeds})")
        seen += low + high
        reached += epochs
    if not handles:
        canvas.sentence(axes, "No run has a validation error yet.")
        return canvas.save(figure, path)
    canvas.style(axes, "Validation error: mean over n seeds, band from lowest to highest", "epoch")
    canvas.scale(axes, seen, " %")
    canvas.epoch_axis(axes, reached)
    canvas.legend(axes, handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    return canvas.save(figure, path)


def _write_beside(axes: Axes, y: int, text: str) -> None:
    axes.text(1.02, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5, color=INK)


def compare_errors(
    rows: Sequence[VariantErrors],
    path: Path,
    title: str = "Test error of each variant",
    confidence: float = CONFIDENCE,
) -> None:
    """Draw each variant's test error: a dot for each seed, their mean, and its interval over images and seeds.

    The interval says where another test set and other seeds may put the mean, not whether two variants differ: those
    read the same images, and are compared in pairs (`comparison_matrix`).

    Args:
        rows: the variants, drawn from top to bottom.
        path: the PNG.
        title: any text.
        confidence: of the intervals.
    """
    figure = canvas.figure(8.0, 1.25 + 0.5 * max(len(rows), 1), title)
    axes = figure.subplots()
    if not rows:
        canvas.sentence(axes, "No variant was evaluated yet.")
        return canvas.save(figure, path)
    canvas.style(
        axes, f"Dot: one seed   Line: mean   Bar: its {PERCENT * confidence:g} % interval over images and seeds"
    )
    axes.grid(visible=False, axis="y")
    for y, row in enumerate(rows):
        if not row.errors:
            _write_beside(axes, y, "no run")
            continue
        rates = [PERCENT * errors / row.images for errors in row.errors]
        low, high = row.interval
        axes.barh(y, high - low, left=low, height=0.56, color=BLUE, alpha=0.18, linewidth=0)
        # One above the other in the order of the seeds, or equal counts would lie over each other.
        axes.plot(rates, y + SEED_SPREAD * np.linspace(-1, 1, len(rates) + 2)[1:-1], "o", **DOT)
        mean = float(np.mean(rates))
        _write_beside(axes, y, f"{mean:.2f} %, {len(rates)} seed{'s' if len(rates) > 1 else ''}")
        axes.plot([mean, mean], [y - 0.28, y + 0.28], color=ORANGE, linewidth=2)
    axes.set_yticks(range(len(rows)), [canvas.clean(row.variant, NAME_CHARACTERS) for row in rows], parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    bounds = axes.dataLim.intervalx
    if np.isfinite(bounds).all():
        margin = 0.06 * (bounds[1] - bounds[0])
        axes.set_xlim(max(bounds[0] - margin, -margin / 4), bounds[1] + margin)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g} %")
    return canvas.save(figure, path)
