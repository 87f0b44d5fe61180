from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torchmetrics.functional.classification import multiclass_recall

from lenet.evaluation.metrics import (
    class_recalls,
    confusion,
    error_percent,
    exact_interval,
    misclassified,
    negative_log_likelihood,
    spread,
)


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(0)
    return source.normal(0, 3, (500, 10)).astype(np.float32), source.integers(0, 10, 500)


@pytest.mark.parametrize(
    ("errors", "low", "high"), [(95, 0.77, 1.16), (80, 0.63, 0.99), (50, 0.37, 0.66), (30, 0.20, 0.43)]
)
def test_exact_interval_of_ten_thousand_images(errors: int, low: float, high: float) -> None:
    found = exact_interval(errors, 10_000)
    assert (round(found[0], 2), round(found[1], 2)) == (low, high)


@pytest.mark.parametrize(("errors", "n"), [(0, 10_000), (1, 3), (7, 7), (95, 10_000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_exact_interval_is_scipys(errors: int, n: int, confidence: float) -> None:
    expected = binomtest(errors, n).proportion_ci(confidence, method="exact")
    assert exact_interval(errors, n, confidence) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


@pytest.mark.parametrize(("errors", "n", "confidence"), [(-1, 10, 0.95), (11, 10, 0.95), (0, 0, 0.95), (1, 10, 1.0)])
def test_exact_interval_refuses_what_is_no_rate(errors: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError):
        exact_interval(errors, n, confidence)


def test_error_percent_counts_the_misread() -> None:
    logits = np.eye(4, dtype=np.float32)
    assert error_percent(logits, np.array([0, 1, 2, 3])) == 0.0
    assert error_percent(logits, np.array([0, 1, 3, 3])) == 25.0


def test_confusion_sums_to_the_images_and_its_diagonal_to_the_right_ones(
    predictions: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = predictions
    matrix = confusion(logits, labels, 10)
    assert matrix.dtype == np.int64
    assert matrix.sum() == len(labels)
    assert (matrix.sum(axis=1) == np.bincount(labels, minlength=10)).all()
    assert (matrix.sum(axis=0) == np.bincount(logits.argmax(axis=1), minlength=10)).all()
    assert matrix.sum() - np.trace(matrix) == misclassified(logits, labels).sum()
    assert 100 * (1 - np.trace(matrix) / 500) == pytest.approx(error_percent(logits, labels))


def test_confusion_has_true_classes_as_rows() -> None:
    assert confusion(np.array([[0.0, 1.0]]), np.array([0]), 2).tolist() == [[0, 1], [0, 0]]


def test_negative_log_likelihood_is_that_of_float64(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = predictions
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    expected = sum(math.log(sum(map(math.exp, row))) - row[label] for row, label in rows) / len(labels)
    assert negative_log_likelihood(logits, labels) == pytest.approx(expected, rel=1e-12)


def test_negative_log_likelihood_does_not_overflow() -> None:
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], dtype=np.float32)
    assert negative_log_likelihood(logits, np.array([0, 1])) == 0.0
    assert negative_log_likelihood(logits, np.array([1, 1])) == pytest.approx(5e3)


def test_class_recalls_by_hand() -> None:
    first, second, third, absent = class_recalls(np.array([[8, 1, 1, 0], [0, 5, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]]))
    assert (first.label, first.images, first.right, first.recall) == (0, 10, 8, 80.0)
    assert first.interval == exact_interval(8, 10)
    assert (second.recall, second.interval) == (100.0, exact_interval(5, 5))
    assert (third.recall, third.interval) == (0.0, exact_interval(0, 3))
    assert (absent.images, absent.recall, absent.interval) == (0, None, None)


def test_class_recalls_are_those_of_torchmetrics(predictions: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = predictions
    expected = multiclass_recall(torch.from_numpy(logits), torch.from_numpy(labels), 10, average="none")
    found = [each.recall for each in class_recalls(confusion(logits, labels, 10))]
    assert found == pytest.approx((100 * expected).tolist(), rel=1e-6)


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.zeros(4), np.array([[1, -1], [0, 0]])])
def test_class_recalls_refuse_what_is_no_confusion_matrix(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError):
        class_recalls(matrix.astype(np.int64))


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((3, 2)), np.zeros(2, dtype=np.int64)),
        (np.zeros(3), np.zeros(3, dtype=np.int64)),
        (np.zeros((0, 2)), np.zeros(0, dtype=np.int64)),
        (np.zeros((1, 2)), np.array([2])),
        (np.zeros((1, 2)), np.array([-1])),
    ],
)
def test_predictions_that_do_not_fit_are_refused(logits: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError):
        error_percent(logits, labels)
    with pytest.raises(ValueError):
        negative_log_likelihood(logits, labels)


def test_spread() -> None:
    found = spread([1.0, 2.0, 4.0])
    assert (found.n, found.low, found.high) == (3, 1.0, 4.0)
    assert found.mean == pytest.approx(7 / 3)
    assert found.deviation == pytest.approx(math.sqrt(7 / 3))


def test_spread_of_one_run_has_no_deviation() -> None:
    found = spread([0.9])
    assert (found.n, found.mean, found.deviation, found.low, found.high) == (1, 0.9, None, 0.9, 0.9)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_spread_of_nothing_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError):
        spread(values)
