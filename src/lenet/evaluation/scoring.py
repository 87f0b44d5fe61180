"""The test set, and what trained networks predict on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lenet.core.project import Project
from lenet.data.arrays import load_test, read_card
from lenet.evaluation.predict import predict
from lenet.evaluation.trained_model import TrainedModel


@dataclass(frozen=True)
class TestSet:
    """A data set's test part.

    Attributes:
        name: the data set's.
        digest: of images and labels.
        images: uint8 [n, c, h, w].
        labels: uint8 [n].
    """

    name: str
    digest: str
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def read_test(project: Project, name: str) -> TestSet:
    """Read a data set's test part.

    Raises:
        DataError: the data set is not prepared.
        DamagedError: the card or an array is damaged.
    """
    prepared = project.prepared(name)
    images, labels = load_test(prepared)
    return TestSet(name, str(read_card(prepared)["test_digest"]), images, labels)


def score(model: TrainedModel, test: TestSet) -> NDArray[np.float32]:
    """Return a network's logits on the test images, float32 [n, classes]; raises as `TrainedModel.load`."""
    return predict(model.load(), test.images)
