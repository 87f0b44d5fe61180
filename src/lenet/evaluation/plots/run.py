"""The pictures of one run, each a PNG that explains itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.metrics import PERCENT
from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import BLUE, INK, LINE, MARKED_EPOCHS, ORANGE, SOFT, History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILTER_COLUMNS = 6
COUNTED_CLASSES = 20  # a matrix of more classes is drawn without its numbers, which would not fit
DARK_FROM = 4  # errors of one pair of classes from which on a cell may be as dark as any


def _line(axes: Axes, history: History, key: str, colour: str, dashes: str) -> Any:
    epochs, values = canvas.series(history, key)
    dot = "o" if len(epochs) <= MARKED_EPOCHS else ""
    (line,) = axes.plot(epochs, values, dashes, color=colour, linewidth=1.6, marker=dot, markersize=3.2)
    return line


def learning_curves(history: History, path: Path, title: str) -> None:
    """Draw loss, error and learning rate over the epochs.

    Args:
        history: a row for each epoch with `epoch`, `train/loss`, `train/error` (percent), `learning_rate`, and where
            there is a validation set `val/loss` and `val/error` (percent). Any key but `epoch` may be missing.
        path: the PNG.
        title: any text.
    """
    figure = canvas.figure(10.0, 3.5, title)
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 0.72))
    if not history:
        for axes in panels:
            axes.set_axis_off()
        canvas.sentence(panels[1], "No epoch was finished.")
        return canvas.save(figure, path)
    epochs, errors = canvas.series(history, "val/error")
    measured = [(error, epoch) for epoch, error in zip(epochs, errors, strict=True) if np.isfinite(error)]
    best = f": validation lowest at {min(measured)[0]:.2f} %, epoch {min(measured)[1]:g}" if measured else ""
    for axes, what, heading, unit in (
        (panels[0], "loss", "Loss", ""),
        (panels[1], "error", f"Error{best}", " %"),
    ):
        canvas.style(axes, heading, "epoch")
        keys = [key for key in (f"train/{what}", f"val/{what}") if canvas.series(history, key)[0]]
        looks = {"train": (ORANGE, "--", "training"), "val": (BLUE, "-", "validation")}
        parts = [looks[key.split("/")[0]] for key in keys]
        handles = [_line(axes, history, key, part[0], part[1]) for key, part in zip(keys, parts, strict=True)]
        canvas.scale(axes, (value for key in keys for value in canvas.series(history, key)[1]), unit)
        canvas.epoch_axis(axes, [row["epoch"] for row in history])
        if handles:
            canvas.legend(axes, handles, [part[2] for part in parts], loc="best")
    if measured:
        error, epoch = min(measured)
        panels[1].plot([epoch], [error], "o", markersize=8, markerfacecolor="none", markeredgecolor=BLUE)
    canvas.style(panels[2], "Learning rate", "epoch")
    _line(panels[2], history, "learning_rate", INK, "-")
    panels[2].yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    panels[2].set_ylim(bottom=0)
    canvas.epoch_axis(panels[2], [row["epoch"] for row in history])
    return canvas.save(figure, path)


def confusion_matrix(matrix: NDArray[np.int64], path: Path, title: str) -> None:
    """Draw which class is read as which; colour tells errors alone, so that the right answers do not drown them.

    Args:
        matrix: counts, int64 [c, c], rows true and columns read.
        path: the PNG.
        title: any text.
    """
    classes = len(matrix)
    right = np.eye(classes, dtype=bool)
    errors = np.where(right, 0, matrix)
    wrong, total = int(errors.sum()), int(matrix.sum())
    figure = canvas.figure(6.6, 5.9, title)
    axes = figure.subplots()
    share = f" ({PERCENT * wrong / total:.2f} %)" if total else ""
    canvas.style(axes, f"{wrong:,} of {total:,} misread{share}; darker: more often", "read as", "true class")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    top = max(int(errors.max(initial=0)), DARK_FROM)
    # The square root lets one error differ from three, even if another pair is taken for each other thirty times.
    axes.imshow(np.ma.masked_equal(np.sqrt(errors), 0), cmap="Oranges", vmin=0, vmax=1.15 * top**0.5)
    axes.imshow(np.ma.masked_array(np.zeros_like(errors), ~right), cmap="Greys", vmin=-0.15, vmax=1)
    if classes > COUNTED_CLASSES:
        return canvas.save(figure, path)
    axes.set_xticks(range(classes))
    axes.set_yticks(range(classes))
    edges = np.arange(classes + 1) - 0.5
    axes.hlines(edges, -0.5, classes - 0.5, color=LINE, linewidth=0.6)
    axes.vlines(edges, -0.5, classes - 0.5, color=LINE, linewidth=0.6)
    for true, read in np.argwhere((matrix > 0) | right):
        count, on_diagonal = int(matrix[true, read]), bool(true == read)
        colour = SOFT if on_diagonal else "white" if count > 0.5 * top else INK
        axes.text(read, true, f"{count}", ha="center", va="center", fontsize=8 if on_diagonal else 9.5, color=colour)
    for true in range(classes):
        part = f"{errors[true].sum()}"
        axes.text(classes - 0.3, true, part, ha="left", va="center", fontsize=8.5, color=INK, clip_on=False)
    axes.text(classes - 0.3, -0.75, "misclassified", ha="left", va="center", fontsize=8, color=SOFT, clip_on=False)
    return canvas.save(figure, path)


def first_layer_filters(weights: NDArray[np.floating], path: Path, title: str) -> None:
    """Draw the filters of the first layer on one scale, the same for both signs.

    Args:
        weights: float [filters, 1, height, width].
        path: the PNG.
        title: any text.
    """
    count = len(weights)
    columns = min(count, FILTER_COLUMNS)
    rows = -(-count // columns)
    figure = canvas.figure(7.6, 0.75 + 1.27 * rows, title)
    panels = figure.subplots(rows, columns, squeeze=False)
    finite = np.abs(weights[np.isfinite(weights)])
    bound = float(finite.max(initial=0.0)) or 1.0
    for number, axes in enumerate(panels.flat):
        axes.set_axis_off()
        if number < count:
            picture = axes.imshow(weights[number, 0], cmap="RdBu_r", vmin=-bound, vmax=bound)
            axes.set_title(f"{number}", fontsize=8.5, color=SOFT, pad=4)
    bar = figure.colorbar(picture, ax=panels, shrink=0.9, aspect=14, ticks=[-bound, 0.0, bound])
    bar.ax.set_yticklabels([f"−{bound:.2g}", "0", f"+{bound:.2g}"])
    bar.set_label("weight", fontsize=8.5, color=SOFT, labelpad=0)
    bar.ax.tick_params(labelsize=8.5, colors=SOFT, length=0)
    bar.outline.set_visible(False)
    return canvas.save(figure, path)
