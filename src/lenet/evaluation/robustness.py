"""Robustness: the error of a network over the strength of shift, scale, rotation, shear, and two kinds of noise.

The paper's own account is in words (LeCun, Bottou, Bengio, Haffner 1998, Section III-E): scale by about 2, shift by
about half the digit's height, rotation by ±30°. MNIST-C (Mu and Gilmer 2019, arXiv 1906.02337) fixes one strength of
each corruption; here each has a curve over its strength, for where networks part is not known before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lenet.evaluation import perturbations
from lenet.evaluation.metrics import PERCENT, misclassified
from lenet.evaluation.predict import predict

if TYPE_CHECKING:
    from lenet.models.classifier import Classifier

SUBSET = 2000
"""Images that the curves are measured on: enough to distinguish 10 % error from 12, and a fifth of the time of all."""

PART = 250
"""Images read at a time: what a layer makes of so many stays in the cache, which is half as long again for 1,000."""


@dataclass(frozen=True)
class Distortion:
    """A kind of distortion and its strengths.

    Attributes:
        name: as it is shown.
        unit: of the levels.
        levels: strengths, ascending.
        undistorted: the level that leaves an image as it is.
        apply: from bytes [n, ..., h, w] and a level to bytes of the same shape.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    undistorted: float
    apply: Callable[[Tensor, float], Tensor]


DISTORTIONS = (
    Distortion("shift", "% of the width", (0, 5, 10, 15, 20, 25, 30), 0, perturbations.shift_anywhere),
    Distortion("scale", "factor", (0.4, 0.5, 0.6, 0.75, 0.9, 1, 1.1, 1.25, 1.4, 1.6), 1, perturbations.scale),
    Distortion("rotation", "degrees", (-60, -45, -30, -15, 0, 15, 30, 45, 60), 0, perturbations.rotate),
    Distortion("shear", "degrees", (-60, -45, -30, -15, 0, 15, 30, 45, 60), 0, perturbations.shear),
    Distortion(
        "Gaussian noise",
        "standard deviation / white",
        (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7),
        0,
        perturbations.add_gaussian_noise,
    ),
    Distortion(
        "salt and pepper",
        "fraction of pixels",
        (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
        0,
        perturbations.add_salt_and_pepper,
    ),
)


@dataclass(frozen=True)
class Curve:
    """The error of one network under one kind of distortion.

    Attributes:
        distortion: its name.
        unit: of the levels.
        levels: strengths, ascending; one of them leaves the images as they are.
        images: images read at each level, the same ones.
        misclassified: how many of them are misclassified at each level.
        errors: the same in percent; `exact_interval` of the counts is the interval.
    """

    distortion: str
    unit: str
    levels: tuple[float, ...]
    images: int
    misclassified: tuple[int, ...]
    errors: tuple[float, ...]


def stratified_subset(labels: NDArray[np.integer], size: int = SUBSET) -> NDArray[np.int64]:
    """Return positions of `size` images, int64 ascending, in which each class has its share to within one image.

    A systematic sample of the images in order of class (Cochran, "Sampling Techniques", 1977, ch. 8): the same for
    each network without a seed, and spread over the whole set, for the first half of MNIST's test set is easier than
    the second. All positions where there are no more.

    Args:
        labels: true classes, integer [n].
        size: at least 1.

    Raises:
        ValueError: there is no image or `size` is below 1.
    """
    if size < 1 or not labels.size:
        raise ValueError(f"a subset of {size} of {labels.size} images is nothing to measure on")
    size = min(size, labels.size)
    by_class = np.argsort(labels, kind="stable")
    return np.sort(by_class[np.arange(size, dtype=np.int64) * labels.size // size])


def robustness(
    network: Classifier, images: NDArray[np.uint8], labels: NDArray[np.integer], size: int = SUBSET
) -> list[Curve]:
    """Return the error curves of a network under each of DISTORTIONS; seconds for 2,000 images.

    Every network reads the same distorted images, so that their curves can be compared.

    Args:
        network: the trained network, from raw bytes to logits.
        images: uint8 [n, ..., h, w], as the network takes them.
        labels: true classes, integer [n].
        size: images to measure on, chosen by `stratified_subset`.

    Raises:
        ValueError: images and labels do not fit each other, or there is no image.
    """
    if images.shape[:1] != labels.shape:
        raise ValueError(f"images {images.shape} and labels {labels.shape} are not as many")
    chosen = stratified_subset(labels, size)
    originals, classes = torch.from_numpy(images[chosen]), labels[chosen]

    def count(shown: Tensor) -> int:
        logits = np.concatenate([predict(network, part.numpy()) for part in shown.split(PART)])
        return int(misclassified(logits, classes).sum())

    plain = count(originals)
    curves = []
    for kind in DISTORTIONS:
        wrong = tuple(
            plain if level == kind.undistorted else count(kind.apply(originals, level)) for level in kind.levels
        )
        errors = tuple(PERCENT * found / len(chosen) for found in wrong)
        curves.append(Curve(kind.name, kind.unit, kind.levels, len(chosen), wrong, errors))
    return curves
