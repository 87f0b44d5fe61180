"""Reading the test set again with networks that are to be compared: the same images, on the same machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet.config.schema import Config
from lenet.core.project import Project
from lenet.data.arrays import load_test, read_card
from lenet.evaluation.predict import load_reader, predict_digits


@dataclass(frozen=True)
class TrainedModel:
    """A trained network that can be read again.

    Attributes:
        label: what people call it.
        config: the config that trained it.
        weights: its weights file.
        sha256: that file's digest, as it is on record.
        fingerprint: of the run that trained it.
    """

    label: str
    config: Config
    weights: Path
    sha256: str
    fingerprint: str


@dataclass(frozen=True)
class TestSet:
    """A data set's test part.

    Attributes:
        name: the data set's.
        digest: of images and labels.
        images: uint8 [n, 28, 28].
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


def score(network: TrainedModel, test: TestSet) -> NDArray[np.float32]:
    """Return the logits [n, classes] of a network, loaded once its weights prove to be those on record.

    Raises:
        DamagedError: the weights file is missing or another.
    """
    return predict_digits(load_reader(network.config, network.weights, network.sha256), test.images)
