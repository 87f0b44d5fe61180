"""McNemar's test of two networks on the same images, the interval of their difference, and Holm's adjustment.

Every difference is a minus b: of errors in percentage points, so that below zero a is the better one. Two networks that
classify the same images differ in the images that only one of them misclassifies; two separate intervals would throw
that pairing away, and with it most of the power.

The test is McNemar's in its exact form, which never exceeds its level; its mid-p form has more power but may, and what
is decided here must not pass by chance. The interval inverts Tango's score statistic (`noninferiority`); the exact test
is the stricter one, and its p can be just above 0.05 where the interval just excludes zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import CONFIDENCE
from lenet.evaluation.stats.noninferiority import score_interval
from lenet.evaluation.stats.pairs import PairedCounts, count_pairs


@dataclass(frozen=True)
class Comparison:
    """What the images say about two networks.

    Attributes:
        counts: how often each misclassified them.
        low: lower limit of the difference of errors a - b, in percentage points.
        high: its upper limit.
        confidence: of the interval.
        p: of McNemar's exact test, two-sided.
    """

    counts: PairedCounts
    low: float
    high: float
    confidence: float
    p: float


def compare(wrong_a: NDArray[np.bool_], wrong_b: NDArray[np.bool_], confidence: float = CONFIDENCE) -> Comparison:
    """Compare two networks on the same images; arguments and errors are those of `count_pairs`."""
    counts = count_pairs(wrong_a, wrong_b)
    low, high = score_interval(counts, confidence)
    return Comparison(counts, low, high, confidence, mcnemar(counts.only_a, counts.only_b))


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p of McNemar's exact test; 1.0 where the two differ in no image.

    Were both equally good, each image that one alone misclassifies would fall to either with probability one half
    (McNemar, Psychometrika 12, 1947): the binomial test of the smaller count, doubled.
    """
    return min(1.0, 2.0 * mcnemar_worse(max(only_a, only_b), min(only_a, only_b)))


def mcnemar_worse(only_a: int, only_b: int) -> float:
    """Return the one-sided p of McNemar's exact test against the claim that a is worse than b."""
    from scipy.special import bdtr  # without scipy.stats, whose import takes longer than the test

    return float(bdtr(only_b, only_a + only_b, 0.5))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p-values adjusted so that the chance of any false alarm among them keeps its level, in their order.

    The step-down of Holm (Scandinavian Journal of Statistics 6, 1979, 65-70); holds whatever their dependence.

    Raises:
        LenetError: one of them is not between 0 and 1.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda position: p_values[position])):
        p = p_values[position]
        if not 0.0 <= p <= 1.0:
            raise LenetError(f"p = {p:g}: must be between 0 and 1")
        largest = max(largest, min(1.0, (len(p_values) - rank) * p))
        adjusted[position] = largest
    return tuple(adjusted)
