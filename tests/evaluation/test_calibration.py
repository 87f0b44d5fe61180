from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from lenet.evaluation.calibration import BINS, confidence_gaps, expected_calibration_error, reliability
from lenet.evaluation.metrics import exact_interval

Predictions = tuple[np.ndarray, np.ndarray]


def two_classes(*rows: tuple[float, bool]) -> Predictions:
    """Logits of two classes for images with these confidences, and labels that make each read right or not."""
    logits = np.array([[math.log(confidence / (1 - confidence)), 0.0] for confidence, _ in rows])
    return logits, np.array([0 if right else 1 for _, right in rows])


@pytest.fixture
def predictions() -> Predictions:
    source = np.random.default_rng(0)
    logits = source.normal(0, 3, (2000, 10)).astype(np.float32)
    labels = np.where(source.random(2000) < 0.7, logits.argmax(axis=1), source.integers(0, 10, 2000))
    return logits, labels


def test_error_by_hand() -> None:
    # Bins of 1/15: 0.55 and 0.58 in [0.533, 0.6), 0.9 in [0.867, 0.933), 0.95 in the last.
    logits, labels = two_classes((0.55, True), (0.58, False), (0.9, True), (0.95, False))
    expected = (2 * abs(0.5 - 0.565) + abs(1 - 0.9) + abs(0 - 0.95)) / 4
    assert expected_calibration_error(logits, labels) == pytest.approx(100 * expected, abs=1e-5)


def test_perfect_calibration_has_no_error() -> None:
    logits, labels = two_classes(*[(0.75, True)] * 3, (0.75, False))
    assert expected_calibration_error(logits, labels) == pytest.approx(0.0, abs=1e-5)
    certain = np.array([[1e4, 0.0], [0.0, 1e4]])
    assert expected_calibration_error(certain, np.array([0, 1])) == pytest.approx(0.0, abs=1e-5)
    assert expected_calibration_error(certain, np.array([1, 0])) == pytest.approx(100.0, abs=1e-5)


def test_error_is_the_mean_distance_of_the_diagram_from_its_diagonal(predictions: Predictions) -> None:
    bins = reliability(*predictions)
    distance = sum(bin_.images * abs(bin_.accuracy - bin_.confidence) for bin_ in bins if bin_.images)
    assert expected_calibration_error(*predictions) == pytest.approx(distance / 2000, rel=1e-12)
    gaps, numbers = confidence_gaps(*predictions)
    sums = np.bincount(numbers, weights=gaps, minlength=BINS)
    assert 100 * np.abs(sums).sum() / 2000 == pytest.approx(distance / 2000, rel=1e-12)


def test_error_is_that_of_torchmetrics_in_float32(predictions: Predictions) -> None:
    logits, labels = predictions
    expected = multiclass_calibration_error(torch.from_numpy(logits), torch.from_numpy(labels), 10, BINS)
    assert expected_calibration_error(logits, labels) == pytest.approx(100 * float(expected), abs=0.01)


def test_the_surest_share_the_last_bin() -> None:
    # The first confidence is exactly 1, the second is not: apart they would cost 2/3 of a percent each.
    logits = np.array([[60.0, 0.0], [4.6, 0.0], [4.6, 0.0]], dtype=np.float32)
    labels = np.array([1, 0, 0])
    gap = (1 + 2 / (1 + math.exp(-4.6))) / 3 - 2 / 3
    assert expected_calibration_error(logits, labels) == pytest.approx(100 * gap, abs=1e-4)
    assert [bin_.images for bin_ in reliability(logits, labels)] == [0] * 14 + [3]


def test_diagram_by_hand() -> None:
    logits, labels = two_classes((0.55, True), (0.58, False), (0.95, True))
    bins = reliability(logits, labels, 0.9)
    assert [bin_.low for bin_ in bins] == pytest.approx([100 * number / 15 for number in range(15)])
    assert [bin_.high for bin_ in bins[:-1]] == [bin_.low for bin_ in bins[1:]]
    assert bins[-1].high == 100.0
    assert [bin_.images for bin_ in bins] == [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1]
    assert (bins[8].accuracy, bins[8].interval) == (50.0, exact_interval(1, 2, 0.9))
    assert bins[8].confidence == pytest.approx(56.5, abs=1e-5)
    assert (bins[14].accuracy, bins[14].interval) == (100.0, exact_interval(1, 1, 0.9))
    assert (bins[0].confidence, bins[0].accuracy, bins[0].interval) == (None, None, None)


def test_a_confidence_on_an_edge_opens_the_next_bin() -> None:
    logits, labels = np.zeros((1, 3)), np.array([0])  # a third, which is the edge between the fifth and the sixth
    assert [number for number, bin_ in enumerate(reliability(logits, labels)) if bin_.images] == [5]


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((3, 2)), np.zeros(2, dtype=np.int64)),
        (np.zeros((0, 2)), np.zeros(0, dtype=np.int64)),
        (np.zeros((1, 2)), np.array([2])),
        (np.array([[np.nan, 0.0]]), np.array([0])),
        (np.array([[np.inf, 0.0]]), np.array([0])),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_predictions_that_cannot_be_calibrated_are_refused(logits: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError):
        expected_calibration_error(logits, labels)
    with pytest.raises(ValueError):
        reliability(logits, labels)
