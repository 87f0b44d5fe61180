"""How far a network's confidence can be believed: expected calibration error and reliability diagram.

Both are about the top label alone: the predicted class, and its probability under softmax. They share one definition
of the bins, so that the error is the mean distance from the diagonal of the diagram that is shown beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.metrics import (
    CONFIDENCE,
    PERCENT,
    Labels,
    Logits,
    exact_interval,
    misclassified,
)

BINS = 15
"""Bins of equal width from 0 to 100 % confidence, as many as Guo et al. (2017) took."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose confidence falls between two edges.

    Attributes:
        low: lower edge in percent; it belongs to the bin.
        high: upper edge in percent; it belongs to the next bin, or to this one if it is the last.
        images: how many fall in.
        confidence: their mean confidence in percent; None where there is no image.
        accuracy: the percentage of them that is classified right; None where there is no image.
        interval: the exact interval of the accuracy, low and high in percent; None where there is no image.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None
    interval: tuple[float, float] | None


def confidence_gaps(logits: Logits, labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return each image's gap and bin, from which calibration is measured.

    Args:
        logits: float [n, c].
        labels: true classes, integer [n].

    Returns:
        Confidence minus 1 where the image is classified right, confidence minus 0 elsewhere, float64 [n]; and the
        number of its bin, int64 [n] from 0 to BINS - 1.

    Raises:
        ValueError: the arrays do not fit each other (`check_predictions`), or a logit is not finite.
    """
    from scipy.special import softmax

    wrong = misclassified(logits, labels)
    confidences = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    if not np.isfinite(confidences).all():
        raise ValueError("logits are not finite: they have no confidence")
    bins = np.digitize(confidences, np.linspace(0.0, 1.0, BINS + 1)) - 1
    return confidences - ~wrong, np.minimum(bins, BINS - 1).astype(np.int64)  # a confidence of 1 is in the last bin


def expected_calibration_error(logits: Logits, labels: Labels) -> float:
    """Return the expected calibration error of the top label in percentage points, with BINS bins of equal width.

    The mean over images of |accuracy - confidence| of their bin: Guo, Pleiss, Sun, Weinberger, "On Calibration of
    Modern Neural Networks", ICML 2017, eq. (3). An estimate from n images is too high by what chance moves each bin
    off the diagonal, so a network whose confidence is perfect does not reach 0.

    Args:
        logits: float [n, c], c at least 2.
        labels: true classes, integer [n].

    Raises:
        ValueError: the arrays do not fit each other (`check_predictions`), or a logit is not finite.
    """
    gaps, bins = confidence_gaps(logits, labels)
    return PERCENT * float(np.abs(np.bincount(bins, weights=gaps)).sum()) / len(labels)


def reliability(logits: Logits, labels: Labels, interval_confidence: float = CONFIDENCE) -> list[ReliabilityBin]:
    """Return the reliability diagram: all BINS bins from the lowest confidence to the highest, empty ones too.

    DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters", The Statistician 32, 1983; for the top label
    of a network Guo et al. 2017, Section 2.

    Args:
        logits: float [n, c].
        labels: true classes, integer [n].
        interval_confidence: of each bin's interval, between 0 and 1; each covers by itself, not all of them at once.

    Raises:
        ValueError: the arrays do not fit each other (`check_predictions`), a logit is not finite, or there is no such
            confidence.
    """
    gaps, bins = confidence_gaps(logits, labels)
    right = ~misclassified(logits, labels)
    images = np.bincount(bins, minlength=BINS)
    hits = np.bincount(bins, weights=right, minlength=BINS)
    confidences = np.bincount(bins, weights=gaps + right, minlength=BINS)
    edges = PERCENT * np.arange(BINS + 1) / BINS
    return [
        ReliabilityBin(
            low=float(edges[number]),
            high=float(edges[number + 1]),
            images=int(images[number]),
            confidence=PERCENT * float(confidences[number] / images[number]) if images[number] else None,
            accuracy=PERCENT * float(hits[number] / images[number]) if images[number] else None,
            interval=exact_interval(int(hits[number]), int(images[number]), interval_confidence)
            if images[number]
            else None,
        )
        for number in range(BINS)
    ]
