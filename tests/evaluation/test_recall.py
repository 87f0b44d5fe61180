from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_recall

from lenet.evaluation.metrics import confusion, exact_interval
from lenet.evaluation.recall import class_recalls


def test_by_hand() -> None:
    first, second, third = class_recalls(np.array([[8, 1, 1], [0, 5, 0], [3, 0, 0]]))
    assert (first.label, first.images, first.right, first.recall) == (0, 10, 8, 80.0)
    assert first.interval == exact_interval(8, 10)
    assert (second.images, second.recall, second.interval) == (5, 100.0, exact_interval(5, 5))
    assert (third.images, third.right, third.recall, third.interval) == (3, 0, 0.0, exact_interval(0, 3))


def test_a_class_without_images_has_no_recall() -> None:
    absent = class_recalls(np.array([[3, 0], [0, 0]]))[1]
    assert (absent.label, absent.images, absent.right, absent.recall, absent.interval) == (1, 0, 0, None, None)


def test_is_that_of_torchmetrics() -> None:
    source = np.random.default_rng(0)
    logits, labels = source.normal(size=(500, 10)), source.integers(0, 10, 500)
    expected = multiclass_recall(torch.from_numpy(logits), torch.from_numpy(labels), 10, average="none")
    found = [each.recall for each in class_recalls(confusion(logits, labels, 10))]
    assert found == pytest.approx((100 * expected).tolist(), rel=1e-6)


def test_more_confidence_is_a_wider_interval() -> None:
    matrix = np.array([[8, 2], [0, 5]])
    narrow, wide = class_recalls(matrix, 0.5)[0].interval, class_recalls(matrix, 0.99)[0].interval
    assert wide[0] < narrow[0] < 80 < narrow[1] < wide[1]


@pytest.mark.parametrize("matrix", [np.zeros((2, 3)), np.zeros(4), np.array([[1, -1], [0, 0]])])
def test_what_is_no_confusion_matrix_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError):
        class_recalls(matrix.astype(np.int64))
