from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from lenet.core.errors import LenetError
from lenet.evaluation.stats.mcnemar import compare, holm, mcnemar, mcnemar_worse
from lenet.evaluation.stats.noninferiority import score_interval
from lenet.evaluation.stats.pairs import PairedCounts, count_pairs

# Two tables of Fagerland, Lydersen and Laake (Statistics in Medicine 33, 2014, 2850-2875, and Statistical Analysis of
# Contingency Tables, 2017, chapter 8): airway hyper-responsiveness before and after stem cell transplantation (Bentur
# et al. 2009), and complete response before and after consolidation therapy (Cavo et al. 2012).
BENTUR = PairedCounts(n=21, both=1, only_a=1, only_b=7)
CAVO = PairedCounts(n=161, both=59, only_a=6, only_b=16)


def misread(counts: PairedCounts) -> tuple[np.ndarray, np.ndarray]:
    neither = counts.n - counts.both - counts.only_a - counts.only_b
    times = [counts.both, counts.only_a, counts.only_b, neither]
    return np.repeat([True, True, False, False], times), np.repeat([True, False, True, False], times)


def test_counts_and_their_errors_in_percent() -> None:
    a = np.array([True, True, False, False, False, True, False, False])
    b = np.array([True, False, True, False, False, False, False, False])
    counts = count_pairs(a, b)
    assert counts == PairedCounts(n=8, both=1, only_a=2, only_b=1)
    assert (counts.error_a, counts.error_b, counts.difference) == (37.5, 25.0, 12.5)
    assert count_pairs(*misread(CAVO)) == CAVO


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros(9_999, bool), np.zeros(10_000, bool), "9,999 and 10,000 images cannot be paired: score both on the"),
        (np.zeros(0, bool), np.zeros(0, bool), "no image: nothing can be compared"),
        (np.zeros(2, int), np.zeros(2, bool), r"int64\[2\] and bool\[2\] are not two bool \[n\]"),
        (np.zeros((2, 1), bool), np.zeros((2, 1), bool), r"bool\[2, 1\] and bool\[2, 1\] are not two bool \[n\]"),
    ],
)
def test_what_cannot_be_paired_is_refused_in_a_line(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(LenetError, match=f"^{message}") as caught:
        compare(a, b)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("counts", "p"), [(CAVO, 0.052479), (BENTUR, 18 / 256), (PairedCounts(9, 9, 0, 0), 1.0)])
def test_mcnemar_is_that_of_the_books(counts: PairedCounts, p: float) -> None:
    assert mcnemar(counts.only_a, counts.only_b) == pytest.approx(p, abs=5e-7)
    assert mcnemar(counts.only_b, counts.only_a) == mcnemar(counts.only_a, counts.only_b)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (5, 5), (15, 5), (14, 6), (40, 97), (300, 200), (0, 2_000)])
def test_mcnemar_is_the_binomial_test(only_a: int, only_b: int) -> None:
    n = only_a + only_b
    assert mcnemar(only_a, only_b) == pytest.approx(binomtest(only_a, n).pvalue, rel=1e-9)
    expected = binomtest(only_a, n, alternative="greater").pvalue
    assert mcnemar_worse(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_nothing_discordant_is_no_evidence_in_either_direction() -> None:
    assert mcnemar(0, 0) == mcnemar_worse(0, 0) == 1.0


def test_compare_brings_it_together() -> None:
    found = compare(*misread(CAVO))
    assert (found.counts, found.confidence) == (CAVO, 0.95)
    assert (found.low, found.high) == score_interval(CAVO)
    assert found.p == mcnemar(6, 16)


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1, and never less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.4, 0.9]) == pytest.approx((0.8, 0.9))
    assert holm([0.7, 0.9]) == (1.0, 1.0)
    assert holm([0.03]) == (0.03,)
    assert holm([]) == ()


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(LenetError, match=r"^p = .*: must be between 0 and 1$"):
        holm([0.5, p, 0.2])
