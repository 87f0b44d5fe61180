"""Whether an exported network reads as the one that was trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet.data.arrays import load_test
from lenet.evaluation.onnx_model import OnnxClassifier
from lenet.evaluation.predict import predict_digits
from lenet.models.preprocessing import Classifier

TOLERANCE = 1e-4
"""Largest difference of two logits that fp32 sums in another order explain; they are of the order of ten."""


@dataclass(frozen=True)
class Agreement:
    """How far an exported network and the trained one agree.

    Attributes:
        images: images that both read.
        same_answers: those that both take for the same class.
        largest_difference: of two logits of one image and class.
    """

    images: int
    same_answers: int
    largest_difference: float

    @property
    def holds(self) -> bool:
        """Whether one may stand for the other: every answer the same, every logit within `TOLERANCE`."""
        return self.same_answers == self.images and self.largest_difference <= TOLERANCE


def check_onnx(path: Path, reader: Classifier, images: NDArray[np.uint8]) -> Agreement:
    """Compare what onnxruntime makes of an ONNX file with what torch makes of the network, on bytes [n, 28, 28].

    Raises:
        DamagedError: onnxruntime cannot read the file.
        ValueError: there is no image.
    """
    if not len(images):
        raise ValueError("no images: nothing can be compared")
    exported, trained = OnnxClassifier(path).predict(images), predict_digits(reader, images)
    same = int((exported.argmax(axis=1) == trained.argmax(axis=1)).sum())
    return Agreement(len(images), same, float(np.abs(exported - trained).max()))


def check_on_test(path: Path, reader: Classifier, prepared: Path) -> Agreement:
    """Compare as `check_onnx` on every image of the test set; nobody looks at its labels.

    Raises:
        DamagedError: the ONNX file, the data set's card or an array is damaged.
        DataError: the data set is not prepared.
    """
    images, _ = load_test(prepared)
    return check_onnx(path, reader, images)
