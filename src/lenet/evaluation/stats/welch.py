"""Two recipes, each trained with several seeds: does one give the lower error, whatever the seed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import CONFIDENCE
from lenet.evaluation.stats.noninferiority import checked_confidence

CLAIM_SEEDS = 5
"""Seeds of either recipe from which on a difference may be claimed (CONTRIBUTING.md, figures)."""

POWER = 0.8
"""Probability with which a difference of `detectable` is found."""

SAME = 1e-12  # values that vary by less than this part of themselves vary by rounding alone
HALVINGS = 60


@dataclass(frozen=True)
class SeedComparison:
    """What the seeds say about two recipes.

    Attributes:
        n_a: seeds of a.
        n_b: seeds of b.
        mean: mean of a minus mean of b, in the unit of the values.
        low: lower limit of that difference.
        high: its upper limit.
        confidence: of the interval.
        p: of Welch's test, two-sided.
        detectable: the true difference that the test would find with probability POWER, given the spread and the
            numbers of seeds at hand.
    """

    n_a: int
    n_b: int
    mean: float
    low: float
    high: float
    confidence: float
    p: float
    detectable: float

    @property
    def fewest(self) -> int:
        """The seeds of the recipe that has fewer."""
        return min(self.n_a, self.n_b)


def welch_test(a: Sequence[float], b: Sequence[float], confidence: float = CONFIDENCE) -> SeedComparison:
    """Compare two recipes over their seeds by Welch's t-test (Biometrika 34, 1947).

    Unpaired, also where both were trained with the same seeds: a seed sets the first weights and the order of the
    images, but what it gives under one recipe does not go with what it gives under another (on MNIST the correlation
    over seeds was found between -0.45 and -0.5, where pairing would gain from a positive one). The interval is that of
    the recipes' mean difference over seeds on these images; it does not speak of other images.

    Args:
        a: one value for each seed, such as the error in percent.
        b: the same for the other recipe.
        confidence: between 0 and 1; the level of the test that `detectable` speaks of is what it leaves.

    Raises:
        LenetError: fewer than two values on either side, one is not finite, or the seeds show no spread at all but
            another mean.
    """
    from scipy.special import stdtr, stdtrit

    checked_confidence(confidence)
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    fewest = min(len(left), len(right))
    if fewest < 2:
        raise LenetError(f"{fewest} seed{'s' * (fewest != 1)}: at least 2 are needed to compare recipes; add some")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise LenetError("a value is not finite: a diverged run cannot be compared")
    mean = float(left.mean() - right.mean())
    rounding = SAME * float(max(np.abs(left).max(), np.abs(right).max()))
    if max(left.std(), right.std()) <= rounding:
        if abs(mean) > rounding:  # t would be infinite and p zero, which two seeds that agree to an image do not show
            raise LenetError(f"all seeds of either differ by {mean:.4g}: without spread a test says nothing; add seeds")
        return SeedComparison(len(left), len(right), 0.0, 0.0, 0.0, confidence, 1.0, 0.0)
    parts = [float(side.var(ddof=1)) / len(side) for side in (left, right)]
    error = float(np.sqrt(sum(parts)))
    degrees = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (left, right), strict=True))
    quantile = float(stdtrit(degrees, 0.5 + confidence / 2))
    return SeedComparison(
        len(left),
        len(right),
        mean,
        mean - quantile * error,
        mean + quantile * error,
        confidence,
        p=2.0 * float(stdtr(degrees, -abs(mean) / error)),
        detectable=error * _noncentrality(degrees, quantile),
    )


def _noncentrality(degrees: float, quantile: float) -> float:
    """Return the true difference, in standard errors, at which |t| exceeds `quantile` with probability POWER."""
    from scipy.special import nctdtr

    low, high = 0.0, 3.0 * (quantile + 3.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        # The other tail's share of the power is below one in a thousand here.
        if 1.0 - float(nctdtr(degrees, middle, quantile)) < POWER:
            low = middle
        else:
            high = middle
    return (low + high) / 2
