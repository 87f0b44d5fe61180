"""The fifteen labels of MNIST's test set that people do not confirm.

Northcutt, Athalye, Mueller, "Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks", NeurIPS
2021, Datasets and Benchmarks (arXiv 2103.14749), let networks doubt 100 of the 10,000 labels and had five people
say of each of those: do you see the label, the network's guess, both, or neither? Listed are all images in which fewer
than three of the five saw the label. The counts are the published ones, https://github.com/cleanlab/label-errors,
mturk/mnist_mturk.json at commit 5457895eee26e49187de5c4d6617b9de6f172221, indices from 0 in the order of the official
file; the images are shown on https://labelerrors.com.

They stay in the test set and in every error rate, as in everyone else's: fifteen images are 0.15 %. They are marked
where misclassified images are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ANNOTATORS = 5
MAJORITY = 3

TEST_LABELS_SHA256 = "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
"""Of MNIST's t10k-labels-idx1-ubyte, uncompressed."""


@dataclass(frozen=True)
class DoubtfulLabel:
    """A label of MNIST's test set, and what five people saw in its image.

    Attributes:
        index: position in the test set, from 0.
        label: the class that the test set gives.
        guess: the class that the study's network proposed instead.
        for_label: people who saw the label alone.
        for_guess: people who saw the guess alone.
        for_neither: people who saw neither.
    """

    index: int
    label: int
    guess: int
    for_label: int
    for_guess: int
    for_neither: int

    @property
    def confirmed(self) -> int | None:
        """The class that at least three of the five saw; None where they did not agree on one of the two."""
        return self.guess if self.for_guess >= MAJORITY else None


DOUBTFUL_LABELS = (
    DoubtfulLabel(947, 8, 9, 0, 5, 0),
    DoubtfulLabel(1621, 0, 6, 2, 3, 0),
    DoubtfulLabel(1901, 9, 4, 2, 3, 0),
    DoubtfulLabel(2130, 4, 9, 2, 2, 1),
    DoubtfulLabel(2462, 2, 0, 0, 4, 1),
    DoubtfulLabel(2597, 5, 3, 0, 4, 1),
    DoubtfulLabel(2654, 6, 1, 0, 2, 3),
    DoubtfulLabel(3520, 6, 4, 2, 0, 3),
    DoubtfulLabel(3558, 5, 0, 1, 4, 0),
    DoubtfulLabel(5937, 5, 3, 1, 3, 1),
    DoubtfulLabel(6651, 0, 6, 0, 5, 0),
    DoubtfulLabel(6783, 1, 6, 2, 3, 0),
    DoubtfulLabel(8527, 4, 9, 2, 2, 1),
    DoubtfulLabel(9679, 6, 3, 2, 0, 3),
    DoubtfulLabel(9729, 5, 6, 2, 3, 0),
)


def doubtful_indices(card: Mapping[str, Any]) -> NDArray[np.int64]:
    """Return the positions of the doubtful labels in the test set, int64 ascending; none for any data set but MNIST.

    Args:
        card: the data set's card; the digests of its original files say whether it is MNIST, whatever its name.
    """
    is_mnist = TEST_LABELS_SHA256 in card["raw"].values()
    return np.array([doubt.index for doubt in DOUBTFUL_LABELS if is_mnist], dtype=np.int64)
