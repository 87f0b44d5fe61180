"""By how much the errors of two networks on the same images differ: limits of the difference, and a test of a margin.

All of it inverts Tango's score statistic (Statistics in Medicine 17, 1998, 891-908), so that a limit and its p always
agree. Differences are errors of a minus errors of b, in percentage points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import CONFIDENCE, PERCENT
from lenet.evaluation.stats.pairs import PairedCounts

LIKELY_DEVIATIONS = 8  # standard deviations from the mean beyond which a count is not expected
HALVINGS = 60  # of the range from -1 to 1: to the last bit of a float64


@dataclass(frozen=True)
class NonInferiority:
    """Whether a is worse than b by less than a margin.

    Attributes:
        difference: error of a minus error of b, in percentage points.
        upper: one-sided upper limit of that difference, in percentage points.
        margin: in percentage points.
        confidence: of the limit; the test's level is 1 - confidence.
        p: one-sided, of the hypothesis that a is worse by the margin or more.
    """

    difference: float
    upper: float
    margin: float
    confidence: float
    p: float

    @property
    def passed(self) -> bool:
        """Whether that hypothesis is rejected, which is where `upper` lies below `margin`."""
        return self.p < 1.0 - self.confidence


def score_interval(counts: PairedCounts, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of the difference of errors a - b, low and high in percentage points.

    All differences that Tango's score test does not reject (Statistics in Medicine 17, 1998, 891-908). Unlike Wald's
    it stays within ±100 points and has a width where the two differ in no image.

    Raises:
        LenetError: no such confidence.
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + checked_confidence(confidence) / 2))
    return _limit(counts, z), _limit(counts, -z)


def noninferiority(counts: PairedCounts, margin: float, confidence: float = CONFIDENCE) -> NonInferiority:
    """Test whether a is worse than b by less than a margin.

    Tango's score test, one-sided (Statistics in Medicine 17, 1998, 891-908): a margin fixed beforehand is the
    hypothesis, and only data that speak against it let a pass. Too few images do not pass.

    Args:
        counts: how often each network misclassified the images.
        margin: more than 0 and less than 100 percentage points.
        confidence: between 0 and 1; the test's level is what it leaves.

    Raises:
        LenetError: no such margin or confidence.
    """
    from scipy.special import ndtr, ndtri

    if not 0.0 < margin < PERCENT:
        raise LenetError(f"margin of {margin:g} points: must be more than 0 and less than 100")
    upper = _limit(counts, -float(ndtri(checked_confidence(confidence))))
    p = float(ndtr(_score(counts, margin / PERCENT)))
    return NonInferiority(counts.difference, upper, margin, confidence, p)


def pass_probability(
    n: int, discordant: int, difference: float, margin: float, confidence: float = CONFIDENCE
) -> float:
    """Return how often `noninferiority` passes a network that is truly worse by `difference`.

    The two counts of images that one network alone misclassifies follow a multinomial distribution; for each of b's
    the largest of a's that still passes is found, since fewer errors of a never fail.

    Args:
        n: images.
        discordant: how many of them one network alone misclassifies, as counted in two that were compared; networks
            that differ by `difference` are taken to differ in as many, or as many as that difference needs.
        difference: true error of a minus that of b, in percentage points, at least 0.
        margin: as `noninferiority` takes it.
        confidence: as `noninferiority` takes it.

    Raises:
        LenetError: no such confidence.
    """
    from scipy.special import bdtr, ndtri

    needed = float(ndtri(checked_confidence(confidence)))
    apart = difference / PERCENT
    share = max(discordant / n, 1 / n, apart)
    a, b = (share + apart) / 2, (share - apart) / 2
    most = min(n, round(n * b + LIKELY_DEVIATIONS * (math.sqrt(n * b) + 1)))
    only_a, total, below = 0, 0.0, 0.0
    for only_b in range(most + 1):
        while only_a + only_b <= n and _score(PairedCounts(n, 0, only_a, only_b), margin / PERCENT) < -needed:
            only_a += 1  # the first that does not pass; it grows with only_b
        reached = float(bdtr(only_b, n, b))
        total += (reached - below) * (float(bdtr(only_a - 1, n - only_b, a / (1.0 - b))) if only_a else 0.0)
        below = reached
    return min(1.0, total)


def checked_confidence(confidence: float) -> float:
    """Return the confidence of an interval.

    Raises:
        LenetError: it is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise LenetError(f"confidence {confidence:g}: must be between 0 and 1, both excluded")
    return confidence


def _score(counts: PairedCounts, delta: float) -> float:
    """Return Tango's statistic for a difference a - b of `delta` (a fraction): standard normal were it the true one."""
    n, a, b = counts.n, counts.only_a, counts.only_b
    distance = a - b - n * delta
    # The likeliest share of images that b alone misclassifies, given delta, is the larger root of
    # 2n q² + linear q - b delta (1 - delta) = 0.
    linear = (2 * n - a + b) * delta - a - b
    root = math.sqrt(max(0.0, linear * linear + 8 * n * b * delta * (1.0 - delta)))
    share = (root - linear) / (4 * n)
    variance = n * (2.0 * share + delta * (1.0 - delta))
    if variance > 0.0:
        return distance / math.sqrt(variance)
    return math.copysign(math.inf, distance) if distance else 0.0


def _limit(counts: PairedCounts, z: float) -> float:
    """Return the difference in percentage points at which the statistic, which falls as it grows, is `z`."""
    low, high = -1.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _score(counts, middle) > z:
            low = middle
        else:
            high = middle
    return PERCENT * (low + high) / 2
