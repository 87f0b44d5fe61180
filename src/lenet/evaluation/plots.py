"""The pictures of a run and of a comparison, each a PNG that explains itself and has the same bytes for the same input.

Without pyplot: it keeps figures in a global register, and its import takes longer than drawing does. The colours are
those of Okabe and Ito (2008), which people with any of the common colour blindnesses can tell apart.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lenet.durable import replacing
from lenet.evaluation.measures import PERCENT, exact_interval, log_probabilities, misread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_PER_INCH = 200  # shown at half its size, a picture is sharp on a dense screen
MARGIN = 0.12  # inches of white around a picture and between its panels
TITLE_CHARACTERS_PER_INCH = 9.5
TITLE_LINES = 2
NAME_CHARACTERS = 36
PALETTE = 256  # colours in a file: more cannot be told from the original by eye
MARKED_EPOCHS = 30  # up to so many epochs each has its dot
MISREAD_SHOWN = 40
MISREAD_COLUMNS = 8
FILTER_COLUMNS = 6
COUNTED_CLASSES = 20  # a matrix of more classes is drawn without its numbers, which would not fit
DARK_FROM = 4  # errors of one pair of classes from which on a cell may be as dark as any
FEW_TICKS = 6.0  # a logarithmic axis that spans a smaller ratio has linear ticks, or it would have one or none
MANY_TICKS = 1000.0  # one that spans more has a tick for each power of ten alone

INK, SOFT, LINE = "#1c1e21", "#5c6470", "#d9dde3"
BLUE, ORANGE = "#0072B2", "#D55E00"
CYCLE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")

History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class VariantErrors:
    """What one variant's runs misread of the test set.

    Attributes:
        variant: its name.
        errors: images misread, one count for each seed.
        images: images in the test set, the same for each seed.
    """

    variant: str
    errors: Sequence[int]
    images: int


def _clean(text: str, limit: int) -> str:
    # A line break, a control character or half a surrogate pair in a name would break the layout or the font engine.
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure of so many inches, its title wrapped to its width."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=MARGIN, h_pad=MARGIN)
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")
    columns = int(width * TITLE_CHARACTERS_PER_INCH)
    lines = textwrap.wrap(_clean(title, 1000), columns, max_lines=TITLE_LINES, placeholder=" …")
    if lines:
        figure.suptitle("\n".join(lines), x=MARGIN / width, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def _save(figure: Figure, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text
    from PIL import Image

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # "$_{" in a run's name is no formula
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which needs no line on the terminal for each.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.draw()  # type: ignore[no-untyped-call]
    # A palette makes the file a quarter as large as savefig's, and without savefig no version or date gets into it.
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(pixels).convert("RGB")
    picture = picture.quantize(PALETTE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True, dpi=(DOTS_PER_INCH, DOTS_PER_INCH))


def _style(axes: Axes, heading: str, x: str = "", y: str = "") -> None:
    axes.set_title(heading, loc="left", fontsize=9.5, color=INK, pad=7)
    axes.set_xlabel(x, fontsize=8.5, color=SOFT)
    axes.set_ylabel(y, fontsize=8.5, color=SOFT)
    axes.tick_params(labelsize=8.5, colors=SOFT, length=0)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LINE)


def _legend(axes: Axes, handles: Sequence[Any], names: Sequence[str], **place: Any) -> None:
    # The texts are set afterwards, for matplotlib leaves out a label that begins with an underscore.
    legend = axes.legend(handles, ["name"] * len(names), frameon=False, fontsize=8.5, labelcolor=INK, **place)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def _sentence(axes: Axes, sentence: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", fontsize=11, color=SOFT)


def _scale(axes: Axes, values: Iterable[float], unit: str = "") -> None:
    """Make the y axis logarithmic where the values allow it; a zero then leaves the picture through its floor."""
    from matplotlib import ticker

    seen = np.asarray(list(values), dtype=np.float64)
    seen = seen[np.isfinite(seen) & (seen > 0)]
    if seen.size:
        axes.set_yscale("log")
        ratio = float(seen.max() / seen.min())
        if ratio < FEW_TICKS:
            axes.yaxis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        else:
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if ratio < MANY_TICKS else (1.0,)))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}{unit}")


def _epoch_axis(axes: Axes, epochs: Sequence[float]) -> None:
    from matplotlib import ticker

    axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True, min_n_ticks=1))
    first, last = min(epochs), max(epochs)
    margin = max(0.03 * (last - first), 0.25)
    axes.set_xlim(first - margin, last + margin)


def _series(history: History, key: str) -> tuple[list[float], list[float]]:
    rows = [row for row in history if key in row]
    return [row["epoch"] for row in rows], [row[key] for row in rows]


def _line(axes: Axes, history: History, key: str, colour: str, dashes: str) -> Any:
    epochs, values = _series(history, key)
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
    figure = _figure(10.0, 3.5, title)
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 0.72))
    if not history:
        for axes in panels:
            axes.set_axis_off()
        _sentence(panels[1], "No epoch was finished.")
        return _save(figure, path)
    epochs, errors = _series(history, "val/error")
    measured = [(error, epoch) for epoch, error in zip(epochs, errors, strict=True) if np.isfinite(error)]
    best = f": validation lowest at {min(measured)[0]:.2f} %, epoch {min(measured)[1]:g}" if measured else ""
    for axes, what, heading, unit in (
        (panels[0], "loss", "Loss", ""),
        (panels[1], "error", f"Error{best}", " %"),
    ):
        _style(axes, heading, "epoch")
        keys = [key for key in (f"train/{what}", f"val/{what}") if _series(history, key)[0]]
        looks = {"train": (ORANGE, "--", "training"), "val": (BLUE, "-", "validation")}
        parts = [looks[key.split("/")[0]] for key in keys]
        handles = [_line(axes, history, key, part[0], part[1]) for key, part in zip(keys, parts, strict=True)]
        _scale(axes, (value for key in keys for value in _series(history, key)[1]), unit)
        _epoch_axis(axes, [row["epoch"] for row in history])
        if handles:
            _legend(axes, handles, [part[2] for part in parts], loc="best")
    if measured:
        error, epoch = min(measured)
        panels[1].plot([epoch], [error], "o", markersize=8, markerfacecolor="none", markeredgecolor=BLUE)
    _style(panels[2], "Learning rate", "epoch")
    _line(panels[2], history, "learning_rate", INK, "-")
    panels[2].yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    panels[2].set_ylim(bottom=0)
    _epoch_axis(panels[2], [row["epoch"] for row in history])
    return _save(figure, path)


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
    figure = _figure(6.6, 5.9, title)
    axes = figure.subplots()
    share = f" ({PERCENT * wrong / total:.2f} %)" if total else ""
    _style(axes, f"{wrong:,} of {total:,} misread{share}; darker: more often", "read as", "true class")
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    top = max(int(errors.max(initial=0)), DARK_FROM)
    # The square root lets one error differ from three, even if another pair is taken for each other thirty times.
    axes.imshow(np.ma.masked_equal(np.sqrt(errors), 0), cmap="Oranges", vmin=0, vmax=1.15 * top**0.5)
    axes.imshow(np.ma.masked_array(np.zeros_like(errors), ~right), cmap="Greys", vmin=-0.15, vmax=1)
    if classes > COUNTED_CLASSES:
        return _save(figure, path)
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
    axes.text(classes - 0.3, -0.75, "misread", ha="left", va="center", fontsize=8, color=SOFT, clip_on=False)
    return _save(figure, path)


def misread_digits(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    logits: NDArray[np.floating],
    path: Path,
    title: str,
    indices: NDArray[np.integer],
) -> None:
    """Draw the misread images, the surest mistakes first, each with true class, class read, and its probability.

    Args:
        images: uint8 [n, height, width], ink bright.
        labels: true classes, integer [n].
        logits: float [n, c]; probabilities are their softmax.
        path: the PNG; at most MISREAD_SHOWN images are drawn.
        title: any text.
        indices: position of each image in its data set, integer [n], so that it can be found again.
    """
    wrong = np.flatnonzero(misread(logits, labels))
    certainty = np.exp(log_probabilities(logits[wrong])).max(axis=1) if wrong.size else np.empty(0)
    order = np.argsort(-certainty, kind="stable")[:MISREAD_SHOWN]
    rows = max(1, -(-len(order) // MISREAD_COLUMNS))
    height, width = images.shape[1:]
    cell_height, cell_width = height + 13, width + 8  # room for two lines of text under each, and between columns
    full_width = MISREAD_COLUMNS * cell_width - 8
    inches = 8.0
    figure = _figure(inches, 0.85 + (inches - 2 * MARGIN) * rows * cell_height / full_width, title)
    axes = figure.subplots()
    if not len(order):
        _sentence(axes, f"Not one of {len(labels):,} images is misread.")
        return _save(figure, path)
    sheet = np.zeros((rows * cell_height, full_width), dtype=np.uint8)
    for place, position in enumerate(order):
        top, left = place // MISREAD_COLUMNS * cell_height, place % MISREAD_COLUMNS * cell_width
        image = wrong[position]
        sheet[top : top + height, left : left + width] = np.maximum(images[image], 12)
        below, right = top + height + 0.6, left + width - 0.5
        caption, chance = f"{labels[image]}→{logits[image].argmax()}", f"{PERCENT * certainty[position]:.1f} %"
        axes.text(left - 0.5, below, caption, ha="left", va="top", fontsize=9, fontweight="bold", color=INK)
        axes.text(right, below + 0.5, chance, ha="right", va="top", fontsize=7, color=ORANGE)
        axes.text(left - 0.5, below + 5.6, f"no. {indices[image]}", ha="left", va="top", fontsize=6.5, color=SOFT)
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
    shown = f"the {len(order)} surest of " if len(order) < wrong.size else ""
    heading = f"{shown}{wrong.size:,} misread of {len(labels):,}: true → read, its probability"
    _style(axes, heading[0].upper() + heading[1:])
    axes.set_axis_off()
    axes.set_anchor("NW")
    return _save(figure, path)


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
    figure = _figure(7.6, 0.75 + 1.27 * rows, title)
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
    return _save(figure, path)


def compare_curves(curves: Mapping[str, Sequence[History]], path: Path, title: str) -> None:
    """Draw each variant's validation error over the epochs: mean of its seeds as a line, from lowest to highest a band.

    Args:
        curves: for each variant the history of each of its seeds, as `learning_curves` takes it. Where seeds ended at
            different epochs, an epoch's mean is that of the seeds which reached it.
        path: the PNG.
        title: any text.
    """
    figure = _figure(8.6, 4.2, title)
    axes = figure.subplots()
    handles, names, seen, reached = [], [], [], []
    for number, (variant, histories) in enumerate(curves.items()):
        by_epoch: dict[float, list[float]] = {}
        measured = [_series(history, "val/error") for history in histories]
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
        names.append(f"{_clean(variant, NAME_CHARACTERS)} (n = {seeds})")
        seen += low + high
        reached += epochs
    if not handles:
        _sentence(axes, "No run has a validation error yet.")
        return _save(figure, path)
    _style(axes, "Validation error: mean over n seeds, band from lowest to highest", "epoch")
    _scale(axes, seen, " %")
    _epoch_axis(axes, reached)
    _legend(axes, handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    return _save(figure, path)


def _beside(axes: Axes, place: int, text: str) -> None:
    axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5, color=INK)


def compare_errors(rows: Sequence[VariantErrors], path: Path, title: str = "Test error of each variant") -> None:
    """Draw each variant's test error: a dot for each seed, their mean, and the exact interval of all seeds together.

    The interval counts every seed's images as if they were new ones. It says how far the count is from exact, not
    whether two variants differ: those read the same images, and are compared in pairs (`mcnemar_exact`).

    Args:
        rows: the variants, drawn from top to bottom.
        path: the PNG.
        title: any text.
    """
    figure = _figure(8.0, 1.25 + 0.42 * max(len(rows), 1), title)
    axes = figure.subplots()
    if not rows:
        _sentence(axes, "No variant was evaluated yet.")
        return _save(figure, path)
    _style(axes, "Dot: one seed   Line: mean   Bar: exact 95 % interval, all seeds pooled")
    axes.grid(visible=False, axis="y")
    for place, row in enumerate(rows):
        if not row.errors:
            _beside(axes, place, "no run")
            continue
        rates = [PERCENT * errors / row.images for errors in row.errors]
        low, high = exact_interval(sum(row.errors), row.images * len(row.errors))
        axes.barh(place, high - low, left=low, height=0.56, color=BLUE, alpha=0.18, linewidth=0)
        # Seeds with the same count lie over each other: the more there are, the darker the dot.
        axes.plot(rates, [place] * len(rates), "o", color=BLUE, markersize=5, alpha=0.55, markeredgewidth=0)
        mean = float(np.mean(rates))
        _beside(axes, place, f"{mean:.2f} %, {len(rates)} seed{'s' if len(rates) > 1 else ''}")
        axes.plot([mean, mean], [place - 0.28, place + 0.28], color=ORANGE, linewidth=2)
    axes.set_yticks(range(len(rows)), [_clean(row.variant, NAME_CHARACTERS) for row in rows], parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    bounds = axes.dataLim.intervalx
    if np.isfinite(bounds).all():
        margin = 0.06 * (bounds[1] - bounds[0])
        axes.set_xlim(max(bounds[0] - margin, -margin / 4), bounds[1] + margin)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.4g} %")
    return _save(figure, path)
