"""The misclassified images as a picture, the surest mistakes first; images with doubtful labels are framed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.metrics import PERCENT, log_probabilities, misclassified
from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import BLUE, INK, MARGIN, ORANGE, SOFT

SHOWN = 40
COLUMNS = 8
INCHES = 8.0
BELOW, BESIDE = 0.46, 0.29  # of an image's width: for two lines of text under each, and between columns
CAPTION_CHARACTERS = 15  # of two class names
FAINTEST = 12  # of 255: the background of a grey image is drawn with so much ink, so that its edges show
LEGEND = "doubtful labels are among them, framed: under three of five people saw them (Northcutt et al., 2021)"


def draw_misclassified(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    logits: NDArray[np.floating],
    classes: Sequence[str],
    path: Path,
    title: str,
    indices: NDArray[np.integer],
    doubtful: NDArray[np.integer] | None = None,
) -> None:
    """Draw the misclassified images, the surest mistakes first, with true class, predicted class and its probability.

    Args:
        images: uint8 [n, c, h, w]; of three channels in colour, otherwise the first, bright ones as ink.
        labels: true classes, integer [n].
        logits: float [n, c]; probabilities are their softmax.
        classes: the names of the classes.
        path: the PNG; at most SHOWN images are drawn.
        title: any text.
        indices: position of each image in its data set, integer [n], so that it can be found again.
        doubtful: positions in the same data set whose labels are in doubt (`label_errors.doubtful_indices`), which are
            framed and explained; None where that is not known, as of validation images.

    Raises:
        ValueError: logits and labels do not fit each other.
    """
    wrong = np.flatnonzero(misclassified(logits, labels))
    certainty = np.exp(log_probabilities(logits[wrong])).max(axis=1) if wrong.size else np.empty(0)
    order = np.argsort(-certainty, kind="stable")[:SHOWN]
    doubted = np.isin(indices, np.empty(0, dtype=np.int64) if doubtful is None else doubtful)
    rows = max(1, -(-len(order) // COLUMNS))
    height, width = images.shape[-2:]
    cell_height, cell_width = height + round(BELOW * width), width + round(BESIDE * width)
    full_width = COLUMNS * cell_width - round(BESIDE * width)
    lines = 2 if doubtful is not None and doubtful.size else 1
    tall = 0.74 + 0.11 * lines + (INCHES - 2 * MARGIN) * rows * cell_height / full_width
    figure = canvas.figure(INCHES, tall, title)
    axes = figure.subplots()
    if not len(order):
        canvas.sentence(axes, f"None of {len(labels):,} images is misclassified.")
        return canvas.save(figure, path)
    sheet = np.full((rows * cell_height, full_width, 3), 255, dtype=np.uint8)
    for number, position in enumerate(order):
        image = wrong[position]
        top, left = number // COLUMNS * cell_height, number % COLUMNS * cell_width
        sheet[top : top + height, left : left + width] = _rgb(images[image])
        below, right = top + height + 0.02 * width, left + width - 0.5
        second = below + 0.2 * width
        caption = canvas.clean(f"{classes[labels[image]]}→{classes[logits[image].argmax()]}", CAPTION_CHARACTERS)
        size = 9 if len(caption) < 6 else 7
        axes.text(left - 0.5, below, caption, ha="left", va="top", fontsize=size, fontweight="bold", color=INK)
        axes.text(left - 0.5, second, f"no. {indices[image]}", ha="left", va="top", fontsize=6, color=SOFT)
        chance = f"{PERCENT * certainty[position]:.1f} %"
        axes.text(right, second, chance, ha="right", va="top", fontsize=6, color=ORANGE)
        if doubted[image]:
            x, y = (left, left + width - 1), (top, top + height - 1)  # the image's outermost pixels
            frame = [x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]]
            axes.plot(*frame, color=BLUE, linewidth=2, clip_on=False, solid_joinstyle="miter")
    axes.imshow(sheet, interpolation="nearest")
    shown = f"The {len(order)} surest of " if len(order) < wrong.size else ""
    heading = f"{shown}{wrong.size:,} misclassified of {len(labels):,}: true → predicted, position, probability"
    if lines > 1 and doubtful is not None:
        heading += f"\n{int(doubted[wrong].sum())} of {doubtful.size} {LEGEND}"
    canvas.style(axes, heading)
    axes.set_axis_off()
    axes.set_anchor("NW")
    return canvas.save(figure, path)


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image [c, h, w] as [h, w, 3]: colours as they are, grey ones as ink on paper."""
    if len(image) == 3:
        return image.transpose(1, 2, 0)
    return np.repeat(255 - np.maximum(image[0], FAINTEST)[:, :, None], 3, axis=2)
