"""An ONNX file as a network: its predictions by onnxruntime, and how far they agree with torch's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lenet.core.errors import DamagedError
from lenet.data.loader import EVALUATION_BATCH
from lenet.evaluation.predict import predict
from lenet.export.onnx_file import LOGITS
from lenet.models.classifier import Classifier

TOLERANCE = 1e-4
"""Largest difference of two logits that fp32 sums in another order explain; they are of the order of ten."""


class OnnxClassifier(nn.Module):
    """Raw bytes in, logits out, by onnxruntime on one CPU thread.

    Args:
        path: the file.

    Raises:
        DamagedError: onnxruntime cannot read it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._session = _open_session(path)
        self._input = self._session.get_inputs()[0].name
        self.image_shape: tuple[int, ...] = tuple(self._session.get_inputs()[0].shape[1:])

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxClassifier:
        return self  # a session has no state that one could change

    def forward(self, images: Tensor) -> Tensor:
        """Map bytes [n, ...] to logits [n, classes]."""
        return torch.from_numpy(self._run(images.numpy()))

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits [n, classes] for bytes [n, ...], in batches."""
        starts = range(0, len(images), EVALUATION_BATCH)
        return np.concatenate([self._run(images[start : start + EVALUATION_BATCH]) for start in starts])

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._session.run([LOGITS], {self._input: images.astype(np.float32)})[0]
        return logits


def _open_session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; they are raised as well
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base but RuntimeError's parent
        line = str(error).splitlines()[0]
        raise DamagedError(f"{path}: onnxruntime cannot read it ({line}); `lenet export` writes it again") from error


@dataclass(frozen=True)
class Agreement:
    """How far an exported network and the trained one agree.

    Attributes:
        images: images that both classified.
        same_answers: images that both assign to the same class.
        largest_difference: of two logits of one image and class.
    """

    images: int
    same_answers: int
    largest_difference: float

    @property
    def holds(self) -> bool:
        """Whether every class is the same and every logit within `TOLERANCE`."""
        return self.same_answers == self.images and self.largest_difference <= TOLERANCE


def compare_with_torch(path: Path, network: Classifier, images: NDArray[np.uint8]) -> Agreement:
    """Compare the logits of an ONNX file by onnxruntime with those of the network by torch, on bytes [n, ...].

    Raises:
        DamagedError: onnxruntime cannot read the file.
        ValueError: there is no image.
    """
    if not len(images):
        raise ValueError("no images: nothing can be compared")
    exported, trained = OnnxClassifier(path).predict(images), predict(network, images)
    same = int((exported.argmax(axis=1) == trained.argmax(axis=1)).sum())
    return Agreement(len(images), same, float(np.abs(exported - trained).max()))
