"""What a registered version holds: an ONNX model that MLflow serves, with torch's own beside it.

What is served is ONNX, for it is data: a `.pt2` that somebody tampered with runs code when it is loaded.

model/                  the version's folder; its MLmodel names onnxruntime
    model.onnx
    torch/              the same network as an MLflow model in pt2 format
    weights.safetensors, config.yaml, provenance.json, manifest.json     by whoever registers it
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.core.atomic_io import sha256_file
from lenet.core.errors import LenetError
from lenet.data.prepare import IMAGE_SHAPE
from lenet.export.onnx_file import CLASS, LOGITS, PROBABILITIES

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

ONNX_FILE = "model.onnx"
"""What mlflow calls it within a model's folder."""

TORCH_FOLDER = "torch"
EXAMPLES = 2
REQUIREMENTS = ("onnx", "onnxruntime", "numpy")
"""What a served model needs; mlflow would take seconds to guess it."""

MILLISECONDS = 1000


def onnx_signature(classes: int) -> ModelSignature:
    """Return what the ONNX model takes and gives, as `export_onnx` says."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, *IMAGE_SHAPE))]),
        outputs=Schema(
            [
                TensorSpec(np.dtype(np.float32), (-1, classes), LOGITS),
                TensorSpec(np.dtype(np.float32), (-1, classes), PROBABILITIES),
                TensorSpec(np.dtype(np.int64), (-1,), CLASS),
            ]
        ),
    )


def pack_onnx(onnx_file: Path, classes: int, folder: Path) -> None:
    """Write an ONNX file as an MLflow model, with signature and input example.

    Args:
        onnx_file: the file, as `export_onnx` writes it.
        classes: what it tells apart.
        folder: the model's folder, which is made.

    Raises:
        LenetError: mlflow wrote other bytes than were checked.
    """
    from importlib.metadata import version

    import mlflow.onnx
    import numpy as np
    import onnx

    mlflow.onnx.save_model(
        onnx.load(str(onnx_file)),
        str(folder),
        signature=onnx_signature(classes),
        input_example=np.zeros((EXAMPLES, *IMAGE_SHAPE), dtype=np.float32),
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,  # one file, the one that was checked
    )
    if sha256_file(folder / ONNX_FILE) != sha256_file(onnx_file):
        raise LenetError(f"{onnx_file}: mlflow wrote other bytes of it; install the onnx of constraints.txt")


def pack_both(onnx_file: Path, reader: torch.nn.Module, classes: int, folder: Path) -> None:
    """Write what a registered version holds: the ONNX model, and torch's in a folder within it; raises as `pack_onnx`.

    Args:
        onnx_file: the exported network.
        reader: the same in torch, as `Classifier`.
        classes: what it tells apart.
        folder: the version's folder, which is made.
    """
    from lenet.registry.mlflow_registry import pack

    pack_onnx(onnx_file, classes, folder)
    pack(reader, classes, folder / TORCH_FOLDER)


def log_measures(client: MlflowClient, run_id: str, measures: Mapping[str, float]) -> None:
    """Log what an exported network weighs and takes as metrics of the run that trained it; what it has already, not.

    Raises:
        MlflowException, OSError: the store is away or refuses.
    """
    from mlflow.entities import Metric

    known = client.get_run(run_id).data.metrics
    when = int(time.time() * MILLISECONDS)
    metrics = [Metric(name, value, when, 0) for name, value in measures.items() if known.get(name) != value]
    if metrics:
        client.log_batch(run_id, metrics=metrics)
