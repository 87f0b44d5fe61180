from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from lenet.evaluation.calibration import confidence_gaps, expected_calibration_error
from lenet.evaluation.metrics import log_probabilities, negative_log_likelihood
from lenet.evaluation.stats.bootstrap import (
    calibration_interval,
    mean_interval,
    negative_log_likelihood_interval,
    resampled_means,
)


def two_classes(confidences: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits = np.stack([np.log(confidences / (1 - confidences)), np.zeros(len(confidences))], axis=1)
    return logits, np.where(right, 0, 1)


def losses(count: int, seed: int = 0) -> np.ndarray:
    """Skewed as a network's are: most near 0, a few large."""
    return np.random.default_rng(seed).lognormal(-4, 2, count)


def test_means_are_those_of_rows_drawn_with_replacement() -> None:
    values = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    means = resampled_means(values, resamples=270)
    assert means.shape == (270, 2)
    assert means[:, 1] == pytest.approx(10 * means[:, 0])  # whole rows are drawn
    possible = {(a + b + c) / 3 for a in (1, 2, 4) for b in (1, 2, 4) for c in (1, 2, 4)}
    assert {round(mean, 9) for mean in means[:, 0]} == {round(mean, 9) for mean in possible}


def test_the_draws_do_not_depend_on_how_many_are_made_at_once() -> None:
    values = losses(30)[:, None]
    assert (resampled_means(values, resamples=120)[:70] == resampled_means(values, resamples=70)).all()


def test_interval_of_a_mean_is_scipys_but_for_the_draws() -> None:
    values = losses(500)
    expected = bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    low, high = mean_interval(values)
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.05 * width)
    assert high == pytest.approx(expected.high, abs=0.1 * width)
    assert high - values.mean() > 1.15 * (values.mean() - low)  # the long tail is on the right


def test_interval_of_a_constant_is_a_point() -> None:
    assert mean_interval(np.full(50, 0.1)) == pytest.approx((0.1, 0.1))
    assert mean_interval(losses(200)) == mean_interval(losses(200)) != mean_interval(losses(200), seed=1)


def test_ninety_five_of_a_hundred_intervals_hold_the_likelihood_and_its_order_is_kept() -> None:
    source = np.random.default_rng(1)
    logits = 4 * np.eye(3)[source.integers(0, 3, 300)] + source.normal(size=(300, 3))
    labels = source.integers(0, 3, 300)
    low, high = negative_log_likelihood_interval(logits, labels)
    assert low < negative_log_likelihood(logits, labels) < high
    each = -log_probabilities(logits)[np.arange(300), labels]
    assert (low, high) == mean_interval(each)
    truth, found = np.exp(0.5), 0
    for seed in range(60):
        low, high = mean_interval(np.random.default_rng(seed).lognormal(0, 1, 200))
        found += low <= truth <= high
    assert found >= 52


@pytest.mark.parametrize("excess", [0.0, 0.02, 0.1])
def test_calibration_intervals_hold_the_true_error(excess: float) -> None:
    source = np.random.default_rng(0)
    found = 0
    for _ in range(40):
        confidences = source.uniform(0.8, 0.99, 1000)
        logits, labels = two_classes(confidences, source.random(1000) < confidences - excess)
        low, high = calibration_interval(logits, labels)
        assert low < expected_calibration_error(logits, labels) < high
        found += low <= 100 * excess <= high
    assert found >= 36


def test_calibration_interval_of_one_bin_is_that_of_its_mean() -> None:
    logits, labels = two_classes(np.full(400, 0.9), np.arange(400) % 2 > 0)
    gaps, _ = confidence_gaps(logits, labels)
    reach = 1.96 * 100 * gaps.std() / 20
    assert calibration_interval(logits, labels) == pytest.approx((40 - reach, 40 + reach), abs=0.3)
    narrow = calibration_interval(logits, labels, 0.5)
    assert narrow == pytest.approx((40 - 0.674 / 1.96 * reach, 40 + 0.674 / 1.96 * reach), abs=0.3)


def test_calibration_interval_of_a_bin_on_the_diagonal_begins_at_zero() -> None:
    logits, labels = two_classes(np.full(400, 0.75), np.arange(400) % 4 > 0)
    low, high = calibration_interval(logits, labels)
    assert expected_calibration_error(logits, labels) == pytest.approx(0.0, abs=1e-4)
    assert low == 0.0
    assert high == pytest.approx(1.96 * 100 * (0.75 * 0.25 / 400) ** 0.5, abs=0.3)


def test_calibration_interval_of_a_network_that_is_sure_is_a_point() -> None:
    logits = np.array([[1e4, 0.0]] * 50)
    assert calibration_interval(logits, np.zeros(50, dtype=np.int64)) == pytest.approx((0.0, 0.0), abs=1e-4)
    assert calibration_interval(logits, np.ones(50, dtype=np.int64)) == pytest.approx((100.0, 100.0), abs=1e-4)


@pytest.mark.parametrize("values", [np.zeros(0), np.zeros(1), np.zeros((3, 2)), np.array([1.0, np.nan])])
def test_too_little_for_an_interval_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least two"):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_no_such_confidence(confidence: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        mean_interval(losses(10), confidence)
    with pytest.raises(ValueError, match="not between 0 and 1"):
        calibration_interval(np.zeros((3, 2)), np.zeros(3, dtype=np.int64), confidence)
