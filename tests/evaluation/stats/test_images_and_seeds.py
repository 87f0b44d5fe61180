"""Intervals over images and seeds hold what they claim: simulated, and against other ways to the same figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri, stdtrit
from scipy.stats import ttest_ind

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import exact_interval
from lenet.evaluation.stats.images_and_seeds import compare_recipes, comparison_matrix, error_interval

IMAGES, RATE = 10_000, 0.007
DIFFICULTY = 3.0
"""Standard deviation of the images' difficulty where a reading's own is 1: design effects as on MNIST, from 2 to 4."""

TRIALS = 200
LOWEST, HIGHEST = 0.91, 0.985
"""Of 200 intervals of 95 %: what chance makes of 95 in two standard errors and a little."""


def simulated(source: np.random.Generator, seeds: int, spread: float, rate: float = RATE) -> np.ndarray:
    """Return which images are misread, bool [seeds, n]: probit, images and seeds crossed, mean error exactly `rate`.

    Only images that any seed may misread are drawn one by one. `spread` is the seeds' standard deviation, of which the
    mean error over all images and seeds knows: that is what an interval has to hold.
    """
    limit = -float(ndtri(rate)) * math.sqrt(1 + DIFFICULTY**2 + spread**2)
    difficulty = source.normal(0, DIFFICULTY, IMAGES)
    near = difficulty > limit - 4.5 - 3 * spread
    drawn = difficulty[near] + source.normal(0, spread, (seeds, 1)) + source.standard_normal((seeds, near.sum()))
    wrong = np.zeros((seeds, IMAGES), bool)
    wrong[:, : near.sum()] = drawn > limit
    return wrong


@pytest.mark.parametrize("seeds", [3, 7])
@pytest.mark.parametrize("spread", [0.0, 0.12])  # none of their own, and about 0.07 points
def test_an_interval_of_95_percent_holds_the_error_in_95_of_100(seeds: int, spread: float) -> None:
    source = np.random.default_rng(seeds)
    held = pooled = 0
    effects = []
    for _ in range(TRIALS):
        wrong = simulated(source, seeds, spread)
        low, high = error_interval(wrong)
        held += low <= 100 * RATE <= high
        low, high = exact_interval(int(wrong.sum()), wrong.size)
        pooled += low <= 100 * RATE <= high
        rate = wrong.mean()
        effects.append(seeds * wrong.mean(axis=0).var() / (rate * (1 - rate)))
    assert LOWEST <= held / TRIALS <= HIGHEST
    assert pooled / TRIALS < 0.9  # what all readings taken for new images would give
    assert 1.8 < np.mean(effects) < 4.4


@pytest.mark.parametrize("seeds", [(3, 3), (7, 5)])
def test_equal_recipes_differ_by_chance_in_5_of_100(seeds: tuple[int, int]) -> None:
    source = np.random.default_rng(sum(seeds))
    held = significant = 0
    for _ in range(TRIALS):
        both = simulated(source, sum(seeds), 0.12)  # the same images, and no seed of the one is of the other
        found = compare_recipes(both[: seeds[0]], both[seeds[0] :])
        held += found.low <= 0 <= found.high
        significant += found.p < 0.05
    assert LOWEST <= held / TRIALS <= HIGHEST + 0.01
    assert held == TRIALS - significant


def test_images_that_tell_nothing_apart_leave_welchs_test() -> None:
    source = np.random.default_rng(1)
    a, b = (np.repeat(source.random((count, 1)) < rate, 1000, axis=1) for count, rate in ((40, 0.3), (30, 0.6)))
    found, expected = compare_recipes(a, b), ttest_ind(100 * a[:, 0], 100 * b[:, 0], equal_var=False)
    assert found.difference == pytest.approx(100 * (a.mean() - b.mean()))
    assert found.p == pytest.approx(expected.pvalue)
    limits = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high))


def test_seeds_that_read_alike_leave_the_images_alone() -> None:
    one = np.random.default_rng(2).random(5000) < 0.02
    low, high = error_interval(np.stack([one, one, one]))
    rate, error = one.mean(), one.std(ddof=1) / math.sqrt(5000)
    assert (low, high) == pytest.approx(
        [100 / (1 + (1 - rate) / rate * math.exp(-sign * 1.9604 * error / rate / (1 - rate))) for sign in (-1, 1)],
        rel=1e-4,
    )
    wide = error_interval(np.stack([one, one, one]), 0.99)
    assert wide[0] < low < high < wide[1]


def test_the_interval_is_that_of_the_mean_squares() -> None:
    # Searle, Casella and McCulloch 1992, ch. 4: var(mean) = (MS images + MS seeds - MS rest) / (images · seeds).
    source = np.random.default_rng(5)
    seeds, images = 4, 60
    wrong = source.random(images) + source.normal(0, 0.2, (seeds, images)) < np.array([[0.1], [0.2], [0.35], [0.5]])
    y, cells = wrong.astype(float), seeds * images
    by_image, by_seed, mean = y.mean(axis=0), y.mean(axis=1), float(y.mean())
    left = y - by_image - by_seed[:, None] + mean
    freedom = {"images": images - 1, "seeds": seeds - 1, "rest": (images - 1) * (seeds - 1)}
    squares = {
        "images": seeds * ((by_image - mean) ** 2).sum(),
        "seeds": images * ((by_seed - mean) ** 2).sum(),
        "rest": (left**2).sum(),
    }
    parts = {name: squares[name] / freedom[name] / cells for name in squares}
    assert parts["seeds"] > parts["rest"] > 0.05 * parts["seeds"]
    variance = parts["images"] + parts["seeds"] - parts["rest"]
    degrees = variance**2 / sum(parts[name] ** 2 / freedom[name] for name in parts)
    half = float(stdtrit(degrees, 0.95)) * math.sqrt(variance) / (mean * (1 - mean))
    odds = math.log(mean / (1 - mean))
    expected = [100 / (1 + math.exp(-odds - sign * half)) for sign in (-1, 1)]
    assert error_interval(wrong, 0.9) == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [[0, 0], [100, 100], [3]])
def test_one_network_or_no_spread_at_all_has_the_exact_interval(wrong: list[int]) -> None:
    misread = np.stack([np.arange(100) < count for count in wrong])
    assert error_interval(misread, 0.9) == exact_interval(wrong[0], 100, 0.9)


def test_a_minus_b_is_minus_b_minus_a_and_equal_readings_do_not_differ() -> None:
    source = np.random.default_rng(3)
    a, b = simulated(source, 3, 0.1), simulated(source, 4, 0.1, 0.01)
    one, other = compare_recipes(a, b), compare_recipes(b, a)
    assert (one.seeds_a, one.seeds_b) == (other.seeds_b, other.seeds_a) == (3, 4)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))
    assert one.p == pytest.approx(other.p)
    none = np.zeros((2, 50), bool)
    same = compare_recipes(none, none)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 9), bool), np.zeros((3, 9), bool), "1 seed: at least 2 are needed to compare recipes"),
        (np.zeros((2, 9), bool), np.zeros((2, 8), bool), "9 and 8 images cannot be paired: score both on the same"),
        (np.zeros((2, 0), bool), np.zeros((2, 0), bool), r"bool\[2, 0\] is not bool \[seeds, n\]"),
        (np.zeros((2, 9)), np.zeros((2, 9), bool), r"float64\[2, 9\] is not bool \[seeds, n\]"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(LenetError, match=message):
        compare_recipes(a, b)


def test_every_pair_of_variants_is_compared_and_p_adjusted_after_holm() -> None:
    source = np.random.default_rng(4)
    difficulty = source.random(4000)
    misread = {
        name: difficulty + 0.02 * source.random((seeds, 4000)) < rate
        for name, seeds, rate in (("worst", 2, 0.06), ("alone", 1, 0.05), ("middle", 3, 0.04), ("best", 4, 0.02))
    }
    rows = comparison_matrix(misread, 0.8)
    assert [(row["a"], row["b"]) for row in rows] == [("worst", "middle"), ("worst", "best"), ("middle", "best")]
    for row in rows:
        expected = compare_recipes(misread[row["a"]], misread[row["b"]], 0.8)
        assert row["seeds"] == [expected.seeds_a, expected.seeds_b]
        assert row["difference"] == pytest.approx(expected.difference, abs=1e-6)
        assert row["difference"] > 0  # the first of each pair misclassifies more
        assert row["interval"] == pytest.approx([expected.low, expected.high], abs=1e-6)
        assert row["p"] == expected.p
    ranked = sorted(rows, key=lambda row: row["p"])
    adjusted = np.minimum(1.0, np.maximum.accumulate([3 * ranked[0]["p"], 2 * ranked[1]["p"], ranked[2]["p"]]))
    assert [row["holm_p"] for row in ranked] == pytest.approx(adjusted.tolist())
    assert comparison_matrix({name: misread[name] for name in ("alone", "best")}, 0.95) == []
