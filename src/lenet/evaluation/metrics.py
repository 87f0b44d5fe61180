"""Metrics of predictions: error with its exact interval, recall, likelihood, and the spread over repeated runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Confidence of every interval that is shown, unless it says otherwise."""

SIGNIFICANT = 0.05
"""Level of the tests that reports speak of."""

PERCENT = 100.0

Logits = NDArray[np.floating]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Spread:
    """How a figure varies over repeated runs.

    Attributes:
        n: number of runs.
        mean: their arithmetic mean, in the unit of the values.
        deviation: sample standard deviation (ddof = 1), or None for a single run: one run shows no spread.
        low: the smallest value.
        high: the largest value.
    """

    n: int
    mean: float
    deviation: float | None
    low: float
    high: float


@dataclass(frozen=True)
class ClassRecall:
    """The recall of one class.

    Attributes:
        label: the class, from 0.
        images: images of the class.
        right: those of them that are classified right.
        recall: right of images, in percent; None where the class has no image, for then it is not 0 but unknown.
        interval: exact interval of the recall, low and high in percent; None where the class has no image.
    """

    label: int
    images: int
    right: int
    recall: float | None
    interval: tuple[float, float] | None


def check_predictions(logits: Logits, labels: Labels) -> None:
    """Refuse arrays that are not one row of logits for each label.

    Args:
        logits: float [n, c].
        labels: integer [n], each from 0 to c - 1.

    Raises:
        ValueError: a shape or a label does not fit, or there is not one image.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape} and labels {labels.shape} are not [n, c] and [n]")
    if not labels.size:
        raise ValueError("no image: nothing can be measured")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, logits have {logits.shape[1]} classes")


def misclassified(logits: Logits, labels: Labels) -> NDArray[np.bool_]:
    """Return which images are misclassified, bool [n]; of equal logits the first counts.

    Raises:
        ValueError: as `check_predictions` says.
    """
    check_predictions(logits, labels)
    return np.asarray(logits.argmax(axis=1) != labels)


def error_percent(logits: Logits, labels: Labels) -> float:
    """Return the percentage of images that are misclassified, from logits [n, c] and labels [n].

    Raises:
        ValueError: as `check_predictions` says.
    """
    return PERCENT * int(misclassified(logits, labels).sum()) / len(labels)


def exact_interval(errors: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact interval of an error rate, low and high in percent.

    The interval of Clopper and Pearson (Biometrika 26, 1934), by the quantiles of the beta distribution: it covers the
    true rate at least as often as `confidence` says, also for no error at all.

    Args:
        errors: misclassified images.
        n: images seen.
        confidence: between 0 and 1, both excluded.

    Raises:
        ValueError: not 0 <= errors <= n with n at least 1, or no such confidence.
    """
    from scipy.special import betaincinv

    if not 0 <= errors <= n or n < 1:
        raise ValueError(f"{errors} errors of {n} images is not a rate")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    tail = (1.0 - confidence) / 2
    low = 0.0 if errors == 0 else float(betaincinv(errors, n - errors + 1, tail))
    high = 1.0 if errors == n else float(betaincinv(errors + 1, n - errors, 1.0 - tail))
    return PERCENT * low, PERCENT * high


def confusion(logits: Logits, labels: Labels, classes: int) -> NDArray[np.int64]:
    """Return how often each class was read as each, int64 [classes, classes]: rows are true, columns are read.

    Raises:
        ValueError: as `check_predictions` says, or logits have another number of classes.
    """
    check_predictions(logits, labels)
    if logits.shape[1] != classes:
        raise ValueError(f"logits have {logits.shape[1]} classes, not {classes}")
    cells = labels.astype(np.int64) * classes + logits.argmax(axis=1)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


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


def log_probabilities(logits: Logits) -> NDArray[np.float64]:
    """Return log softmax in nats, float64 [n, c]."""
    below = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)  # in numpy: to import scipy takes 0.1 s
    return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))


def negative_log_likelihood(logits: Logits, labels: Labels) -> float:
    """Return the mean negative log-likelihood of the labels under softmax of the logits, in nats an image.

    Raises:
        ValueError: as `check_predictions` says.
    """
    check_predictions(logits, labels)
    return float(-log_probabilities(logits)[np.arange(len(labels)), labels].mean())


def spread(values: Sequence[float]) -> Spread:
    """Return number, mean, deviation, smallest and largest of the values of repeated runs.

    Raises:
        ValueError: there is no value, or one of them is not finite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all():
        raise ValueError(f"no spread of {values!r}: at least one value is needed, and each of them finite")
    deviation = float(sample.std(ddof=1)) if sample.size > 1 else None
    return Spread(int(sample.size), float(sample.mean()), deviation, float(sample.min()), float(sample.max()))
