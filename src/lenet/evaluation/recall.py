"""How much of each class is read right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.metrics import CONFIDENCE, PERCENT, exact_interval


@dataclass(frozen=True)
class ClassRecall:
    """How much of one class is read right.

    Attributes:
        label: the class, from 0.
        images: images of the class.
        right: those of them that are read right.
        recall: right of images, in percent; None where the class has no image, for then it is not 0 but unknown.
        interval: exact interval of the recall, low and high in percent; None where the class has no image.
    """

    label: int
    images: int
    right: int
    recall: float | None
    interval: tuple[float, float] | None


def class_recalls(matrix: NDArray[np.int64], confidence: float = CONFIDENCE) -> list[ClassRecall]:
    """Return each class's recall with its exact interval (Clopper and Pearson, `exact_interval`), in order of class.

    Each interval covers by itself as often as `confidence` says; of ten at 95 %, one misses in up to two of five test
    sets. So that one class's interval lies below another's is no test of their difference.

    Args:
        matrix: counts, int64 [c, c], rows true and columns read, as `confusion` returns them; the sum of several
            networks' matrices gives their pooled recall, with an interval that takes every reading for a new image.
        confidence: of the intervals, between 0 and 1.

    Raises:
        ValueError: the matrix is not square or has a negative count, or no such confidence.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or (matrix < 0).any():
        raise ValueError(f"counts {matrix.shape} are not those of a confusion matrix [c, c]")
    recalls = []
    for label, row in enumerate(matrix):
        images, right = int(row.sum()), int(row[label])
        share = PERCENT * right / images if images else None
        interval = exact_interval(right, images, confidence) if images else None
        recalls.append(ClassRecall(label, images, right, share, interval))
    return recalls
