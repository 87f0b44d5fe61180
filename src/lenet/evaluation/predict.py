"""Load a trained network from its weights file, and compute its logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lenet.config.schema import Config
from lenet.core.atomic_io import check_digest
from lenet.core.errors import DamagedError

if TYPE_CHECKING:
    from lenet.models.classifier import Classifier


def load_network(config: Config, weights: Path, sha256: str) -> Classifier:
    """Return the trained network, from raw bytes to logits, once its file proves to be the one on record.

    Raises:
        DamagedError: the file is missing, its sha256 is another, or it holds another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from lenet.models.classifier import build_classifier

    check_digest(weights, sha256, "`dvc repro` makes it anew")
    network = build_classifier(config)
    try:
        network.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:  # names or shapes are not this network's
        raise DamagedError(f"{weights}: holds no weights of this run's network; `dvc repro` makes it anew") from error
    return network.eval()


def predict(network: Classifier, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the logits, float32 [n, classes], for uint8 images [n, c, h, w], computed on the CPU."""
    import torch

    from lenet.kernels.logits import compute_logits

    return compute_logits(network, torch.from_numpy(images)).numpy()
