"""The misread digits as a picture, the surest mistakes first, those marked whose label people do not confirm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.metrics import PERCENT, log_probabilities, misclassified
from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import BLUE, INK, MARGIN, ORANGE, SOFT

SHOWN = 40
COLUMNS = 8
INCHES = 8.0
BELOW, BESIDE = 13, 8  # pixels of the images' scale: for two lines of text under each, and between columns
LEGEND = "doubtful labels are among them, framed: under three of five people saw them (Northcutt et al., 2021)"


def draw_misclassified(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    logits: NDArray[np.floating],
    path: Path,
    title: str,
    indices: NDArray[np.integer],
    doubtful: NDArray[np.integer] | None = None,
) -> None:
    """Draw the misread images, the surest mistakes first, each with true class, class read, and its probability.

    Args:
        images: uint8 [n, channels, height, width], ink bright.
        labels: true classes, integer [n].
        logits: float [n, c]; probabilities are their softmax.
        path: the PNG; at most SHOWN images are drawn.
        title: any text.
        indices: position of each image in its data set, integer [n], so that it can be found again.
        doubtful: positions in the same data set whose labels are in doubt (`doubtful.doubtful_indices`), which are
            framed and explained; None where nobody looked, as at validation images.

    Raises:
        ValueError: logits and labels do not fit each other.
    """
    wrong = np.flatnonzero(misclassified(logits, labels))
    certainty = np.exp(log_probabilities(logits[wrong])).max(axis=1) if wrong.size else np.empty(0)
    order = np.argsort(-certainty, kind="stable")[:SHOWN]
    doubted = np.isin(indices, np.empty(0, dtype=np.int64) if doubtful is None else doubtful)
    rows = max(1, -(-len(order) // COLUMNS))
    height, width = images.shape[2:]
    cell_height, cell_width = height + BELOW, width + BESIDE
    full_width = COLUMNS * cell_width - BESIDE
    lines = 2 if doubtful is not None and doubtful.size else 1
    tall = 0.74 + 0.11 * lines + (INCHES - 2 * MARGIN) * rows * cell_height / full_width
    figure = canvas.figure(INCHES, tall, title)
    axes = figure.subplots()
    if not len(order):
        canvas.sentence(axes, f"Not one of {len(labels):,} images is misread.")
        return canvas.save(figure, path)
    sheet = np.zeros((rows * cell_height, full_width), dtype=np.uint8)
    for place, position in enumerate(order):
        top, left = place // COLUMNS * cell_height, place % COLUMNS * cell_width
        image = wrong[position]
        sheet[top : top + height, left : left + width] = np.maximum(images[image, 0], 12)
        below, right = top + height + 0.6, left + width - 0.5
        caption, chance = f"{labels[image]}→{logits[image].argmax()}", f"{PERCENT * certainty[position]:.1f} %"
        axes.text(left - 0.5, below, caption, ha="left", va="top", fontsize=9, fontweight="bold", color=INK)
        axes.text(right, below + 0.5, chance, ha="right", va="top", fontsize=7, color=ORANGE)
        axes.text(left - 0.5, below + 5.6, f"no. {indices[image]}", ha="left", va="top", fontsize=6.5, color=SOFT)
        if doubted[image]:
            across, down = (left, left + width - 1), (top, top + height - 1)  # the image's outermost pixels
            corners = (
                [across[0], across[1], across[1], across[0], across[0]],
                [down[0], down[0], down[1], down[1], down[0]],
            )
            axes.plot(*corners, color=BLUE, linewidth=2, clip_on=False, solid_joinstyle="miter")
            axes.text(right, below + 5.6, "label?", ha="right", va="top", fontsize=6.5, color=BLUE)
    axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
    shown = f"the {len(order)} surest of " if len(order) < wrong.size else ""
    heading = f"{shown}{wrong.size:,} misread of {len(labels):,}: true → read, its probability"
    heading = heading[0].upper() + heading[1:]
    if lines > 1 and doubtful is not None:
        heading += f"\n{int(doubted[wrong].sum())} of {doubtful.size} {LEGEND}"
    canvas.style(axes, heading)
    axes.set_axis_off()
    axes.set_anchor("NW")
    return canvas.save(figure, path)
