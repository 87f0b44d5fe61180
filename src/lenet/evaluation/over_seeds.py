"""Two recipes, each trained with the same seeds: does one give the lower error, whatever the seed?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lenet.errors import LenetError
from lenet.evaluation.measures import CONFIDENCE
from lenet.evaluation.tango import checked_confidence

SAME = 1e-12  # differences that vary by less than this part of the values vary by rounding alone


@dataclass(frozen=True)
class SeedComparison:
    """What the seeds say about two recipes.

    Attributes:
        n: seeds.
        mean: mean difference a - b, in the unit of the values.
        deviation: sample standard deviation of the differences (ddof = 1).
        low: lower limit of the mean difference.
        high: its upper limit.
        confidence: of the interval.
        p: of the paired t-test, two-sided.
    """

    n: int
    mean: float
    deviation: float
    low: float
    high: float
    confidence: float
    p: float


def paired_over_seeds(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> SeedComparison:
    """Compare two recipes, each trained with the same seeds, by the paired t-test (Student, Biometrika 6, 1908).

    The interval is that of the recipes' mean difference over seeds on these images; it does not speak of other images.

    Args:
        a: one value for each seed, such as the error in percent.
        b: the same for the other recipe, in the same order.
        confidence: between 0 and 1.

    Raises:
        LenetError: not one finite value for each of two seeds or more, or all seeds differ by the same, not by zero.
    """
    from scipy.special import stdtr, stdtrit

    if len(a) != len(b):
        raise LenetError(f"{len(a)} and {len(b)} seeds cannot be paired: train both with the same seeds")
    n = len(a)
    if n < 2:
        raise LenetError(f"{n} seed{'s' * (n != 1)}: at least 2 are needed to compare recipes; add some to seeds")
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    differences = left - right
    if not np.isfinite(differences).all():
        raise LenetError("a value is not finite: a diverged run cannot be compared")
    quantile = float(stdtrit(n - 1, 0.5 + checked_confidence(confidence) / 2))
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    rounding = SAME * float(np.abs([left, right]).max())
    if deviation <= rounding:
        if abs(mean) > rounding:  # t would be infinite and p zero, which two seeds that agree to an image do not show
            raise LenetError(f"all {n} seeds differ by {mean:.4g}: without spread a t-test says nothing; add seeds")
        return SeedComparison(n, 0.0, 0.0, 0.0, 0.0, confidence, 1.0)
    error = deviation / math.sqrt(n)
    p = 2.0 * float(stdtr(n - 1, -abs(mean) / error))
    return SeedComparison(n, mean, deviation, mean - quantile * error, mean + quantile * error, confidence, p)
