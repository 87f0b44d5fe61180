from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lenet.data.arrays import load_test, read_card
from lenet.evaluation.label_errors import ANNOTATORS, DOUBTFUL_LABELS, MAJORITY, doubtful_indices

MNIST = Path(__file__).parents[2] / "data" / "prepared" / "mnist"


def test_fifteen_labels_without_a_majority_of_five() -> None:
    assert len(DOUBTFUL_LABELS) == 15
    assert [doubt.index for doubt in DOUBTFUL_LABELS] == sorted({doubt.index for doubt in DOUBTFUL_LABELS})
    for doubt in DOUBTFUL_LABELS:
        assert doubt.for_label + doubt.for_guess + doubt.for_neither == ANNOTATORS
        assert doubt.for_label < MAJORITY
        assert doubt.label != doubt.guess
        assert doubt.confirmed in (None, doubt.guess)
    assert sum(doubt.confirmed is not None for doubt in DOUBTFUL_LABELS) == 10


def test_another_data_set_has_none() -> None:
    found = doubtful_indices({"name": "mnist", "raw": {"test_labels": "0" * 64}})
    assert (found.dtype, found.shape) == (np.int64, (0,))


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not prepared here")
def test_they_are_those_of_mnist() -> None:
    _, labels = load_test(MNIST)
    assert doubtful_indices(read_card(MNIST)).tolist() == [doubt.index for doubt in DOUBTFUL_LABELS]
    assert [labels[doubt.index] for doubt in DOUBTFUL_LABELS] == [doubt.label for doubt in DOUBTFUL_LABELS]
