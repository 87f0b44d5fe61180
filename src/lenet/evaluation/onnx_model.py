"""An ONNX file that answers as the network it was made from, so that both are measured by the same means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lenet.core.errors import DamagedError
from lenet.data.loader import EVALUATION_BATCH

LOGITS = "logits"
"""The output that is read, by its name; the file has others."""


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

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxClassifier:
        return self  # a session has no state that one could change

    def forward(self, images: Tensor) -> Tensor:
        """Map bytes [n, 28, 28] to logits [n, classes]."""
        return torch.from_numpy(self._read(images.numpy()))

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits [n, classes] for bytes [n, 28, 28], read in parts as `predict_digits` does."""
        starts = range(0, len(images), EVALUATION_BATCH)
        return np.concatenate([self._read(images[start : start + EVALUATION_BATCH]) for start in starts])

    def _read(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
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
        raise DamagedError(f"{path}: onnxruntime cannot read it ({line}); `lenet export` makes it anew") from error
