"""The error of a recipe over images and seeds: the networks of all its seeds read the same images.

Neither all readings together nor the seeds alone are the sample: another test set would move the figure, and so would
other seeds. Both are drawn, crossed with each other, and the variance of the mean has a part of each: that of a two-way
layout with random effects (Searle, Casella and McCulloch, "Variance Components", 1992, ch. 4), here by its mean
squares, with the degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946, 110-114).

The bootstrap of such a layout (Owen, "The Pigeonhole Bootstrap", Annals of Applied Statistics 1, 2007) was tried beside
it. Where seeds differ its intervals are too short, by a third with three seeds: it draws again from three values only,
and knows nothing of how uncertain their spread is.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import CONFIDENCE, PERCENT, exact_interval
from lenet.evaluation.stats.mcnemar import holm
from lenet.evaluation.stats.noninferiority import checked_confidence

Misclassified = NDArray[np.bool_]
"""Which images the network of each seed misclassifies, bool [seeds, n]."""

MIN_SEEDS = 2
DECIMALS = 6


@dataclass(frozen=True)
class RecipeDifference:
    """By how much the errors of two recipes differ, over images and seeds.

    Attributes:
        seeds_a: seeds of a.
        seeds_b: seeds of b.
        difference: mean error of a minus mean error of b, in percentage points.
        low: lower limit of the difference, in percentage points.
        high: its upper limit.
        confidence: of the interval.
        p: two-sided, of the hypothesis that the recipes have the same error.
    """

    seeds_a: int
    seeds_b: int
    difference: float
    low: float
    high: float
    confidence: float
    p: float


def error_interval(wrong: Misclassified, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of a recipe's error, low and high in percent: other images and other seeds included.

    On the scale of the log-odds, where a small rate is nearly symmetric. One network alone, or seeds that misclassify
    nothing or everything, have `exact_interval`: there the seeds show no spread.

    Simulated with three to seven seeds on 10,000 images, error rates and spreads as on MNIST, intervals of 95 % held
    the truth in 93 to 97 of 100 cases (tests/evaluation/test_crossed.py); with two seeds as often, but wide.

    Args:
        wrong: bool [seeds, n].
        confidence: between 0 and 1.

    Raises:
        LenetError: there is no seed or no image, or no such confidence.
    """
    from scipy.special import expit, logit, stdtrit

    checked_confidence(confidence)
    _check(wrong, least=1)
    seeds, images = wrong.shape
    rate = float(wrong.mean())
    if seeds == 1 or rate in (0.0, 1.0):
        return exact_interval(int(wrong[0].sum()), images, confidence)
    variance, degrees = _variance(wrong)
    half = float(stdtrit(degrees, 0.5 + confidence / 2)) * np.sqrt(variance) / (rate * (1.0 - rate))
    return PERCENT * float(expit(logit(rate) - half)), PERCENT * float(expit(logit(rate) + half))


def compare_recipes(a: Misclassified, b: Misclassified, confidence: float = CONFIDENCE) -> RecipeDifference:
    """Compare the mean errors of two recipes on the same images, over images and seeds.

    Images are paired, seeds are not: what one seed gives under one recipe says nothing of what it gives under another.

    Args:
        a: bool [seeds, n]; two seeds or more.
        b: bool [seeds, n] of the other recipe, the same images in the same order; as many seeds or others.
        confidence: between 0 and 1.

    Raises:
        LenetError: fewer than two seeds, other images, no image, or no such confidence.
    """
    from scipy.special import stdtr, stdtrit

    checked_confidence(confidence)
    for one in (a, b):
        _check(one, MIN_SEEDS)
    if a.shape[1] != b.shape[1]:
        raise LenetError(f"{a.shape[1]:,} and {b.shape[1]:,} images cannot be paired: score both on the same")
    difference = float(a.mean() - b.mean())
    variance, degrees = _variance(a, b)
    error = float(np.sqrt(variance))
    half = float(stdtrit(degrees, 0.5 + confidence / 2)) * error if error else 0.0
    p = 2.0 * float(stdtr(degrees, -abs(difference) / error)) if error else 1.0
    low, high = PERCENT * (difference - half), PERCENT * (difference + half)
    return RecipeDifference(len(a), len(b), PERCENT * difference, low, high, confidence, p)


def comparison_matrix(wrong: Mapping[str, Misclassified], confidence: float) -> list[dict[str, Any]]:
    """Compare every pair of variants over images and seeds, the p-values adjusted together after Holm (1979).

    Args:
        wrong: for each variant which images the network of each of its seeds misclassifies, bool [seeds, n]. A variant
            with one seed is left out: two networks are compared by `lenet compare`.
        confidence: of the interval of the difference (`compare_recipes`).

    Returns:
        One row a pair: a, b, their seeds, difference of mean error a - b in percentage points with its interval, p
        and holm_p.
    """
    pairs = list(itertools.combinations((name for name, found in wrong.items() if len(found) >= MIN_SEEDS), 2))
    found = [compare_recipes(wrong[a], wrong[b], confidence) for a, b in pairs]
    adjusted = holm([one.p for one in found]) if found else ()
    return [
        {"a": a, "b": b} | difference_tree(one) | {"holm_p": p}
        for (a, b), one, p in zip(pairs, found, adjusted, strict=True)
    ]


def difference_tree(found: RecipeDifference) -> dict[str, Any]:
    """Return a difference as JSON takes it."""
    return {
        "seeds": [found.seeds_a, found.seeds_b],
        "difference": round(found.difference, DECIMALS),
        "interval": [round(found.low, DECIMALS), round(found.high, DECIMALS)],
        "p": found.p,
    }


def _variance(a: Misclassified, b: Misclassified | None = None) -> tuple[float, float]:
    """Return variance and degrees of freedom of the mean of a, or of the difference of the means of a and b."""
    images = a.shape[1]
    means = [wrong.mean(axis=0) for wrong in ((a,) if b is None else (a, b))]
    by_image = means[0] if b is None else means[0] - means[1]
    variance = float(by_image.var(ddof=1)) / images if images > 1 else 0.0
    uncertain = variance**2 / max(1, images - 1)
    for wrong, own in zip((a,) if b is None else (a, b), means, strict=True):
        count, by_seed, rate = len(wrong), wrong.mean(axis=1), float(wrong.mean())
        over_seeds = float(by_seed.var(ddof=1)) / count
        # What is left of the squares when image and seed are taken off is part of both variances, and counts once.
        left = max(0.0, rate * (1.0 - rate) - float(own.var()) - float(by_seed.var()))
        freedom = max(1, (images - 1) * (count - 1))
        rest = left / freedom
        if over_seeds > rest:  # otherwise the seeds show no spread of their own
            variance += over_seeds - rest
            uncertain += over_seeds**2 / (count - 1) + rest**2 / freedom
    return variance, variance**2 / uncertain if uncertain else 1.0


def _check(wrong: Misclassified, least: int) -> None:
    if wrong.ndim != 2 or wrong.dtype != bool or not wrong.size:
        raise LenetError(f"{wrong.dtype}{list(wrong.shape)} is not bool [seeds, n] with at least one image")
    if len(wrong) < least:
        raise LenetError(f"{len(wrong)} seed: at least {least} are needed to compare recipes; add some to seeds")
