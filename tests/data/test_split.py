from __future__ import annotations

import hashlib

import numpy as np
import pytest

from lenet.core.errors import ConfigError
from lenet.data.split import split, stratified_order

LABELS = np.random.default_rng(3).choice(10, 3000, p=np.arange(1, 11) / 55).astype(np.uint8)

ORDER_BEGINS = [82, 543, 264, 565, 211, 706]
ORDER_SHA256 = "487c5c3e075aa1ae51c6412c6a79ef0f3b468dbb1897cd56254a2fb57b117f04"


def test_order_is_a_permutation() -> None:
    assert np.array_equal(np.sort(stratified_order(LABELS)), np.arange(3000))


def test_order_is_the_same_on_every_machine() -> None:
    labels = (np.arange(1000) * 7 % 10).astype(np.uint8)
    order = stratified_order(labels)
    assert order.dtype == np.int64
    assert order[:6].tolist() == ORDER_BEGINS
    assert hashlib.sha256(order.astype("<i8").tobytes()).hexdigest() == ORDER_SHA256


@pytest.mark.parametrize("labels", [LABELS, (np.arange(3000) % 10).astype(np.uint8)], ids=["unequal", "equal"])
def test_every_beginning_and_every_end_is_stratified(labels: np.ndarray) -> None:
    ordered = labels[stratified_order(labels)]
    for ordering in (ordered, ordered[::-1]):
        seen = np.cumsum(ordering[:, None] == np.arange(10), axis=0)
        share = np.bincount(labels, minlength=10) / len(labels)
        expected = np.arange(1, len(labels) + 1)[:, None] * share
        # A class is less than one image off its share of the keys, and the cut less than one image a class.
        assert np.abs(seen - expected).max() < 1 + 10 * share.max()
        assert np.abs(seen - expected).max() < 3


def test_members_of_a_class_are_shuffled() -> None:
    labels = np.zeros(1000, dtype=np.uint8)
    order = stratified_order(labels)
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.1


def test_classes_that_are_absent_or_alone() -> None:
    labels = np.array([5, 9, 5], dtype=np.uint8)
    assert sorted(stratified_order(labels)) == [0, 1, 2]
    assert stratified_order(np.empty(0, dtype=np.uint8)).shape == (0,)


def test_validation_is_the_same_for_every_training_size() -> None:
    order = stratified_order(LABELS)
    whole, validation = split(order, None, 500)
    assert len(whole) == 2500
    assert not set(whole) & set(validation)
    for size in (1, 10, 2500):
        part, same = split(order, size, 500)
        assert np.array_equal(same, validation)
        assert np.array_equal(part, whole[:size])


def test_smaller_validations_lie_within_larger_ones() -> None:
    order = stratified_order(LABELS)
    assert set(split(order, None, 100)[1]) < set(split(order, None, 500)[1])


def test_no_validation() -> None:
    train, validation = split(stratified_order(LABELS), None, 0)
    assert (len(train), len(validation)) == (3000, 0)


@pytest.mark.parametrize(
    ("train_size", "validation_size", "complaint"),
    [
        (None, 3000, "data.validation_size=3000: must be 0 to 2999"),
        (None, -1, "data.validation_size=-1: must be 0 to 2999"),
        (2501, 500, "data.train_size=2501: must be 1 to 2500, what data.validation_size=500 leaves of 3000 images"),
        (0, 500, "data.train_size=0: must be 1 to 2500"),
    ],
)
def test_impossible_sizes(train_size: int | None, validation_size: int, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split(stratified_order(LABELS), train_size, validation_size)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)
