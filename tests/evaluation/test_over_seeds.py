from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from lenet.errors import LenetError
from lenet.evaluation.over_seeds import paired_over_seeds


def test_over_seeds_is_students_own_example() -> None:
    # Hours of sleep gained by ten patients with each of two drugs (Student, Biometrika 6, 1908).
    a = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    b = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = paired_over_seeds(a, b)
    assert (found.n, found.confidence) == (10, 0.95)
    assert found.mean == pytest.approx(-1.58)
    assert found.deviation == pytest.approx(1.229995, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-7)
    assert found.p == pytest.approx(0.002833, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_over_seeds_is_scipys(n: int) -> None:
    source = np.random.default_rng(n)
    a, b = source.normal(0.90, 0.08, n), source.normal(0.84, 0.08, n)
    expected = ttest_rel(a, b)
    found = paired_over_seeds(a.tolist(), b.tolist(), 0.99)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.99)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_over_seeds_of_the_same_runs() -> None:
    found = paired_over_seeds([0.91, 0.88], [0.91, 0.88])
    assert (found.n, found.mean, found.low, found.high, found.p) == (2, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.9], [0.8], "1 seed: at least 2 are needed to compare recipes; add some to seeds"),
        ([], [], "0 seeds: at least 2 are needed to compare recipes; add some to seeds"),
        ([0.9, 0.8], [0.9], "2 and 1 seeds cannot be paired: train both with the same seeds"),
        ([0.9, math.nan], [0.9, 0.8], "a value is not finite: a diverged run cannot be compared"),
        (
            [0.9, 0.8, 1.1],
            [0.8, 0.7, 1.0],
            "all 3 seeds differ by 0.1: without spread a t-test says nothing; add seeds",
        ),
    ],
)
def test_over_seeds_refuses_in_a_line(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(LenetError) as caught:
        paired_over_seeds(a, b)
    assert str(caught.value) == message


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_over_seeds_refuses_a_confidence_that_is_none(confidence: float) -> None:
    with pytest.raises(LenetError, match=r"^confidence .*: must be between 0 and 1, both excluded$"):
        paired_over_seeds([1.0, 2.0], [1.0, 3.0], confidence)
