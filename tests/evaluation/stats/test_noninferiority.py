from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm

from lenet.core.errors import LenetError
from lenet.evaluation.stats.noninferiority import noninferiority, pass_probability, score_interval
from lenet.evaluation.stats.pairs import PairedCounts

# Two tables of Fagerland, Lydersen and Laake (Statistics in Medicine 33, 2014, 2850-2875, and Statistical Analysis of
# Contingency Tables, 2017, chapter 8): airway hyper-responsiveness before and after stem cell transplantation (Bentur
# et al. 2009), and complete response before and after consolidation therapy (Cavo et al. 2012).
BENTUR = PairedCounts(n=21, both=1, only_a=1, only_b=7)
CAVO = PairedCounts(n=161, both=59, only_a=6, only_b=16)
TABLES = [PairedCounts(40, 0, a, b) for a, b in itertools.product((0, 3, 20), repeat=2)]


def test_score_interval_is_that_of_the_books() -> None:
    assert score_interval(BENTUR) == pytest.approx((-51.7, -2.6), abs=0.05)
    assert score_interval(CAVO) == pytest.approx((-12.40, -0.54), abs=0.005)


def test_score_interval_is_that_of_propcis() -> None:
    # R's PropCIs::scoreci.mp(25, 28, 618, 0.90), whose estimate is (second - first) / n.
    assert score_interval(PairedCounts(618, 0, 28, 25), 0.90) == pytest.approx((-1.48, 2.47), abs=0.005)


def test_score_interval_at_the_edges() -> None:
    z2 = norm.ppf(0.975) ** 2
    width = 100 * z2 / (10_000 + z2)  # where nothing is discordant, n delta / (1 - delta) = z², solved by hand
    assert score_interval(PairedCounts(10_000, 90, 0, 0)) == pytest.approx((-width, width), rel=1e-12)
    low, high = score_interval(PairedCounts(20, 0, 20, 0))
    assert high == pytest.approx(100.0, abs=1e-9)
    assert 60.0 < low < 100.0


@pytest.mark.parametrize("counts", TABLES, ids=str)
@pytest.mark.parametrize("confidence", [0.8, 0.999])
def test_score_interval_holds_the_estimate_and_mirrors(counts: PairedCounts, confidence: float) -> None:
    low, high = score_interval(counts, confidence)
    assert -100.0 <= low <= counts.difference <= high <= 100.0
    swapped = PairedCounts(counts.n, counts.both, counts.only_b, counts.only_a)
    assert score_interval(swapped, confidence) == pytest.approx((-high, -low), abs=1e-9)


def likeliest_score(counts: PairedCounts, delta: float) -> float:
    """The score statistic, its nuisance parameter found by maximising the likelihood of the table instead."""
    n, a, b = counts.n, counts.only_a, counts.only_b

    def surprise(share: float) -> float:
        cells = [(a, share + delta), (b, share), (n - a - b, 1 - 2 * share - delta)]
        return -sum(k * math.log(max(p, 1e-300)) for k, p in cells if k)

    low, high = max(0.0, -delta), (1 - delta) / 2
    share = minimize_scalar(surprise, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return float((a - b - n * delta) / math.sqrt(n * (2 * share + delta - delta**2)))


@pytest.mark.parametrize("counts", [*TABLES[1:], CAVO, BENTUR, PairedCounts(10_000, 30, 60, 40)], ids=str)
@pytest.mark.parametrize("margin", [0.2, 5.0, 30.0])
def test_noninferiority_is_the_score_test_of_the_likelihood(counts: PairedCounts, margin: float) -> None:
    expected = norm.cdf(likeliest_score(counts, margin / 100))
    assert noninferiority(counts, margin).p == pytest.approx(expected, abs=1e-5)


def test_noninferiority_by_hand() -> None:
    # One of 44 images tells the two apart, the margin is 10 points: the likeliest share for b is 0, the variance
    # 44 · 0.1 · 0.9 = 3.96, the distance 1 - 4.4, so that z = -3.4 / √3.96 = -1.7086.
    found = noninferiority(PairedCounts(44, 43, 1, 0), 10.0)
    assert found.p == pytest.approx(norm.cdf(-3.4 / math.sqrt(3.96)), rel=1e-12)
    assert found.p == pytest.approx(0.0438, abs=5e-5)
    assert (found.difference, found.margin, found.confidence) == (pytest.approx(100 / 44), 10.0, 0.95)
    assert found.passed
    assert found.upper < 10.0


@pytest.mark.parametrize("counts", TABLES, ids=str)
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_a_limit_and_its_p_agree(counts: PairedCounts, confidence: float) -> None:
    for margin in (1.0, 5.0, 10.0, 20.0, 40.0, 70.0):
        found = noninferiority(counts, margin, confidence)
        assert found.passed == (found.upper < margin) == (found.p < 1 - confidence)
        assert found.upper == pytest.approx(score_interval(counts, 2 * confidence - 1)[1], abs=1e-9)
    limit = noninferiority(counts, 50.0, confidence).upper
    if limit > 0:
        assert noninferiority(counts, limit, confidence).p == pytest.approx(1 - confidence, rel=1e-6)


@pytest.mark.parametrize("discordant", [0.006, 0.03])
def test_a_network_worse_by_the_margin_passes_once_in_twenty(discordant: float) -> None:
    # Every table of 10,000 images weighted with its probability: no simulation, so no error of one.
    n, margin = 10_000, 0.002
    share_a, share_b = (discordant + margin) / 2, (discordant - margin) / 2
    passing, level = 0, 0.0
    for b in range(int(binom.ppf(1 - 1e-9, n, share_b))):
        while noninferiority(PairedCounts(n, 0, passing, b), 100 * margin).passed:
            passing += 1
        level += binom.pmf(b, n, share_b) * binom.cdf(passing - 1, n - b, share_a / (1 - share_b))
    assert 0.045 < level < 0.055


@pytest.mark.parametrize(("discordant", "difference"), [(120, 0.0), (120, 0.1), (120, 0.2), (4, 0.1)])
def test_what_a_margin_lets_through_is_what_a_simulation_lets_through(discordant: int, difference: float) -> None:
    n, margin, trials = 10_000, 0.2, 400
    share = max(discordant / n, difference / 100)
    a, b = (share + difference / 100) / 2, (share - difference / 100) / 2
    drawn = np.random.default_rng(discordant).multinomial(n, [a, b, 1 - a - b], trials)
    passed = np.mean([noninferiority(PairedCounts(n, 0, int(x), int(y)), margin).passed for x, y, _ in drawn])
    found = pass_probability(n, discordant, difference, margin)
    assert found == pytest.approx(passed, abs=3.5 * math.sqrt(0.25 / trials))
    if difference == margin:
        assert found == pytest.approx(0.05, abs=0.01)


def test_no_difference_passes_the_more_often_the_more_alike_two_are() -> None:
    found = [pass_probability(10_000, discordant, 0.0, 0.2) for discordant in (40, 80, 120, 240)]
    assert found == sorted(found, reverse=True)
    assert 0.4 < found[2] < found[0] <= 1.0
    assert pass_probability(100, 0, 0.0, 0.2) < 0.01  # too few images hardly ever pass


@pytest.mark.parametrize("margin", [0.0, -1.0, 100.0, math.nan])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(LenetError, match=r"^margin of .* points: must be more than 0 and less than 100$"):
        noninferiority(CAVO, margin)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    for asked in (
        lambda: score_interval(CAVO, confidence),
        lambda: noninferiority(CAVO, 1.0, confidence),
    ):
        with pytest.raises(LenetError, match=r"^confidence .*: must be between 0 and 1, both excluded$"):
            asked()
