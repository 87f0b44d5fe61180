from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lenet.config.schema import Config
from lenet.evaluation.metrics import misclassified
from lenet.evaluation.predict import predict
from lenet.evaluation.robustness import DISTORTIONS, robustness, stratified_subset
from lenet.models.classifier import Classifier, build_classifier


@pytest.fixture
def reader(make_config: Callable[..., Config]) -> Classifier:
    torch.manual_seed(3)
    config = make_config()
    return build_classifier(config, [0.13], [0.31]).eval()


@pytest.fixture
def digits(reader: Classifier) -> tuple[np.ndarray, np.ndarray]:
    """Images and what an untrained network reads in them, but for each tenth."""
    source = np.random.default_rng(1)
    images = np.zeros((300, 1, 28, 28), dtype=np.uint8)
    images[:, 0, 4:24, 4:24] = source.integers(0, 256, (300, 20, 20))
    labels = predict(reader, images).argmax(axis=1)
    labels[::10] = (labels[::10] + 1) % 10
    return images, labels


def test_curves_are_those_of_the_distorted_images(reader: Classifier, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    curves = robustness(reader, images, labels, size=300)
    assert [curve.distortion for curve in curves] == [kind.name for kind in DISTORTIONS]
    for curve, kind in zip(curves, DISTORTIONS, strict=True):
        assert (curve.levels, curve.unit, curve.images) == (kind.levels, kind.unit, 300)
        assert curve.errors == pytest.approx([100 * wrong / 300 for wrong in curve.misclassified])
        assert curve.misclassified[curve.levels.index(kind.undistorted)] == 30
        shown = kind.apply(torch.from_numpy(images), kind.levels[-1]).numpy()
        assert curve.misclassified[-1] == misclassified(predict(reader, shown), labels).sum()
        assert curve.misclassified[-1] > 30


def test_only_the_subset_is_read_and_it_is_the_same_for_each_network(
    reader: Classifier, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = digits
    chosen = stratified_subset(labels, 40)
    curves = robustness(reader, images, labels, size=40)
    assert curves == robustness(reader, images[chosen], labels[chosen], size=40)
    assert all(curve.images == 40 for curve in curves)


def test_levels_ascend_and_one_of_them_changes_nothing() -> None:
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for kind in DISTORTIONS:
        assert list(kind.levels) == sorted(set(kind.levels))
        assert torch.equal(kind.apply(images, kind.undistorted), images)
        assert kind.undistorted in kind.levels


def test_each_class_has_its_share_of_the_subset() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), np.arange(100, 1100, 100)))
    chosen = stratified_subset(labels, 550)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert np.abs(np.bincount(labels[chosen]) - np.arange(10, 110, 10)).max() <= 1
    halves = np.histogram(chosen, bins=2, range=(0, len(labels)))[0]
    assert halves.min() > 220  # spread over the whole set


def test_a_subset_of_all_and_of_one() -> None:
    labels = np.array([3, 1, 2, 1])
    assert stratified_subset(labels, 10).tolist() == [0, 1, 2, 3]
    assert stratified_subset(labels, 1).tolist() == [1]
    assert stratified_subset(labels, 4).dtype == np.int64


def test_what_cannot_be_measured_is_refused(reader: Classifier, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    with pytest.raises(ValueError, match="are not"):
        robustness(reader, images, labels[:-1])
    with pytest.raises(ValueError, match="nothing to measure"):
        robustness(reader, images[:0], labels[:0])
    with pytest.raises(ValueError, match="nothing to measure"):
        stratified_subset(labels, 0)
