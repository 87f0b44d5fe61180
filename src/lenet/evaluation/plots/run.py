"""The pictures of one run, each a PNG that explains itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from lenet.core.errors import DamagedError
from lenet.core.project import Project
from lenet.evaluation.metrics import PERCENT, confusion
from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.misclassified import draw_misclassified
from lenet.evaluation.plots.style import BLUE, INK, LINE, MARKED_EPOCHS, ORANGE, SOFT, History
from lenet.evaluation.trained_model import TrainedModel, from_run
from lenet.runs.run_dir import FINISHED, RunDir

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES, CONFUSION, MISCLASSIFIED = "learning_curves.png", "confusion_matrix.png", "misclassified.png"
FILTERS = "first_layer_filters.png"

FILTER_COLUMNS = 6
MAX_FILTERS = 24
FILTER_GAP = 2  # of a filter's pixels, between two filters
COLOURS = 3
COUNTED_CLASSES = 20  # a matrix of more classes is drawn without its numbers, which would not fit
NAME_CHARACTERS = 12
DARK_FROM = 4  # errors of one pair of classes from which on a cell may be as dark as any


def draw_run(folder: RunDir, project: Project) -> None:
    """Draw the pictures of a finished run into its plots/, unless they are there.

    A run without validation images has no picture of them, a network without a convolution of images none of filters.

    Raises:
        DamagedError: the weights or the validation logits are not those of a network of this run.
    """
    plots = folder.path / "plots"
    if folder.state() != FINISHED or not folder.history() or (plots / CURVES).is_file():
        return
    plots.mkdir(exist_ok=True)
    model = from_run(folder)
    title = folder.identity()["name"]
    filters = first_filters(model)
    if filters is not None:
        first_layer_filters(filters, plots / FILTERS, title)
    if (folder.path / "validation.npz").is_file():
        _draw_validation(folder, model, project, title)
    learning_curves(folder.history(), plots / CURVES, title)  # last: where it is, all are


def _draw_validation(folder: RunDir, model: TrainedModel, project: Project, title: str) -> None:
    from lenet.data.arrays import load_training
    from lenet.data.split import split

    data, plots = model.config.data, folder.path / "plots"
    arrays = load_training(project.prepared(data.name))
    _, indices = split(arrays.order, data.train_size, data.validation_size)
    names = data.classes
    with _reading(folder.path / "validation.npz") as path, np.load(path) as kept:
        logits, labels = kept["logits"], kept["labels"]
        if logits.shape != (len(indices), len(names)) or labels.shape != (len(indices),):
            raise ValueError(f"logits of shape {logits.shape}")
    confusion_matrix(confusion(logits, labels, len(names)), names, plots / CONFUSION, title)
    images = arrays.images[indices]
    draw_misclassified(images, labels, logits, names, plots / MISCLASSIFIED, title, indices)


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    try:
        yield path
    except (KeyError, ValueError, BadZipFile) as error:
        raise DamagedError(f"{path}: is not what a training writes ({error}); delete the run's folder") from error


def first_filters(model: TrainedModel) -> NDArray[np.float32] | None:
    """Return the weights of the convolution of the images, [filters, channels, h, w]; None without one.

    Raises:
        DamagedError: the weights are not those on record.
    """
    from torch import nn

    layers = [module for module in model.load().modules() if next(module.parameters(recurse=False), None) is not None]
    first = layers[0] if layers else None
    if not isinstance(first, nn.Conv2d) or first.in_channels not in {1, COLOURS}:
        return None
    filters: NDArray[np.float32] = first.weight.detach().numpy()
    return filters


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
    parts = (("train", "training", ORANGE, "--"), ("val", "validation", BLUE, "-"))
    for axes, metric, heading, unit in ((panels[0], "loss", "Loss", ""), (panels[1], "error", f"Error{best}", " %")):
        canvas.style(axes, heading, "epoch")
        shown = [part for part in parts if canvas.series(history, f"{part[0]}/{metric}")[0]]
        handles = [_line(axes, history, f"{part}/{metric}", colour, dashes) for part, _, colour, dashes in shown]
        values = [value for part in shown for value in canvas.series(history, f"{part[0]}/{metric}")[1]]
        canvas.scale(axes, values, unit)
        canvas.epoch_axis(axes, [row["epoch"] for row in history])
        if handles:
            canvas.legend(axes, handles, [name for _, name, _, _ in shown], loc="best")
    if measured:
        error, epoch = min(measured)
        panels[1].plot([epoch], [error], "o", markersize=8, markerfacecolor="none", markeredgecolor=BLUE)
    canvas.style(panels[2], "Learning rate", "epoch")
    _line(panels[2], history, "learning_rate", INK, "-")
    panels[2].yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    panels[2].set_ylim(bottom=0)
    canvas.epoch_axis(panels[2], [row["epoch"] for row in history])
    return canvas.save(figure, path)


def confusion_matrix(matrix: NDArray[np.int64], classes: Sequence[str], path: Path, title: str) -> None:
    """Draw how often each class was predicted as each; colour shows errors alone, which the diagonal would drown.

    Args:
        matrix: counts, int64 [c, c], rows true and columns predicted.
        classes: the names of the c classes.
        path: the PNG.
        title: any text.
    """
    count = len(matrix)
    right = np.eye(count, dtype=bool)
    errors = np.where(right, 0, matrix)
    wrong, total = int(errors.sum()), int(matrix.sum())
    figure = canvas.figure(6.6, 5.9, title)
    axes = figure.subplots()
    share = f" ({PERCENT * wrong / total:.2f} %)" if total else ""
    heading = f"{wrong:,} of {total:,} misclassified{share}; darker: more often"
    canvas.style(axes, heading, "predicted class", "true class")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    top = max(int(errors.max(initial=0)), DARK_FROM)
    # The square root lets one error differ from three, even if another pair is taken for each other thirty times.
    axes.imshow(np.ma.masked_equal(np.sqrt(errors), 0), cmap="Oranges", vmin=0, vmax=1.15 * top**0.5)
    axes.imshow(np.ma.masked_array(np.zeros_like(errors), ~right), cmap="Greys", vmin=-0.15, vmax=1)
    if count > COUNTED_CLASSES:
        return canvas.save(figure, path)
    names = [canvas.clean(name, NAME_CHARACTERS) for name in classes]
    turned = 90 if max(map(len, names)) * count > 50 else 0  # so many characters fit beside each other
    axes.set_xticks(range(count), names, rotation=turned, parse_math=False)
    axes.set_yticks(range(count), names, parse_math=False)
    edges = np.arange(count + 1) - 0.5
    axes.hlines(edges, -0.5, count - 0.5, color=LINE, linewidth=0.6)
    axes.vlines(edges, -0.5, count - 0.5, color=LINE, linewidth=0.6)
    for true, predicted in np.argwhere((matrix > 0) | right):
        images, on_diagonal = int(matrix[true, predicted]), bool(true == predicted)
        colour = SOFT if on_diagonal else "white" if images > 0.5 * top else INK
        size = 8 if on_diagonal else 9.5
        axes.text(predicted, true, f"{images}", ha="center", va="center", fontsize=size, color=colour)
    outside: dict[str, Any] = {"ha": "left", "va": "center", "clip_on": False}
    for true in range(count):
        axes.text(count - 0.3, true, f"{errors[true].sum()}", fontsize=8.5, color=INK, **outside)
    axes.text(count - 0.3, -0.75, "wrong", fontsize=8, color=SOFT, **outside)
    return canvas.save(figure, path)


def first_layer_filters(weights: NDArray[np.floating], path: Path, title: str) -> None:
    """Draw the filters of the first layer on one scale: of one channel by sign, of three in colour around grey.

    Args:
        weights: float [filters, 1 or 3, height, width]; the first MAX_FILTERS are drawn.
        path: the PNG.
        title: any text.
    """
    weights = weights[:MAX_FILTERS]
    count, channels, height, width = weights.shape
    columns = min(count, FILTER_COLUMNS)
    rows = -(-count // columns)
    figure = canvas.figure(7.6, 0.75 + 1.27 * rows, title)
    axes = figure.subplots()
    axes.set_axis_off()
    finite = np.abs(weights[np.isfinite(weights)])
    bound = float(finite.max(initial=0.0)) or 1.0
    # One picture of all filters: a panel for each takes as long to lay out as the rest of a run's pictures.
    sheet = np.full((rows * (height + FILTER_GAP), columns * (width + FILTER_GAP), channels), np.nan)
    for number, filter_ in enumerate(weights):
        top, left = number // columns * (height + FILTER_GAP), number % columns * (width + FILTER_GAP)
        sheet[top : top + height, left : left + width] = filter_.transpose(1, 2, 0)
        middle = left + (width - 1) / 2
        axes.text(middle, top - 0.7, f"{number}", ha="center", va="bottom", fontsize=8.5, color=SOFT)
    if channels == COLOURS:
        axes.imshow(np.where(np.isnan(sheet), 1, 0.5 + sheet / (2 * bound)).clip(0, 1), interpolation="nearest")
        return canvas.save(figure, path)
    picture = axes.imshow(sheet[:, :, 0], cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
    bar = figure.colorbar(picture, ax=axes, shrink=0.9, aspect=14, ticks=[-bound, 0.0, bound])
    bar.ax.set_yticklabels([f"−{bound:.2g}", "0", f"+{bound:.2g}"])
    bar.set_label("weight", fontsize=8.5, color=SOFT, labelpad=0)
    bar.ax.tick_params(labelsize=8.5, colors=SOFT, length=0)
    bar.outline.set_visible(False)
    return canvas.save(figure, path)
