"""The files of a registered version: an ONNX model that MLflow serves, with torch's own beside it.

ONNX is served because it is data: a `.pt2` file that somebody changed runs code when it is loaded.

model/                  the version's folder; its MLmodel names onnxruntime
    model.onnx
    torch/              the same network as an MLflow model in pt2 format
    weights.safetensors, config.yaml, manifest.json     written by `register`
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.core.atomic_io import read_json, sha256_file
from lenet.core.errors import DamagedError, LenetError
from lenet.core.paths import BUILT_EXPORT, EXPORT, LATENCY
from lenet.core.project import Project
from lenet.evaluation.trained_model import from_run
from lenet.export.export_model import export_checked, export_metrics, onnx_metadata
from lenet.export.onnx_file import CLASS, LOGITS, PROBABILITIES
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

    from lenet.models.classifier import Classifier

ONNX_FILE = "model.onnx"
"""MLflow's name of the file within a model's folder."""

TORCH_FOLDER = "torch"
EXAMPLES = 2
"""Images of the input example: torch.export takes a batch of one for a constant."""

MILLISECONDS = 1000


def pack_version(project: Project, run_dir: RunDir, folder: Path) -> None:
    """Write the models of a finished run into a new folder.

    The export stage's ONNX file is used where it is this run's; otherwise the network is exported and checked again.

    Raises:
        DamagedError: the run directory is damaged.
        LenetError: onnxruntime's predictions differ from torch's.
    """
    model = from_run(run_dir)
    network = model.load()
    with tempfile.TemporaryDirectory() as temporary:
        path = project.root / BUILT_EXPORT
        known = _export_of(project, run_dir)
        if known is None or not path.is_file() or sha256_file(path) != known["onnx_sha256"]:
            path = Path(temporary) / BUILT_EXPORT.name
            export_checked(project, model, network, path)
        classes = len(model.config.data.classes)
        pack_onnx(path, network.image_shape, classes, folder)
        pack_torch(network, classes, folder / TORCH_FOLDER)


def pack_onnx(onnx_file: Path, image_shape: tuple[int, int, int], classes: int, folder: Path) -> None:
    """Write an ONNX file as an MLflow model: float32 images to logits, probabilities and class.

    Raises:
        LenetError: MLflow wrote other bytes than were checked.
    """
    import mlflow.onnx
    import numpy as np
    import onnx

    outputs = [
        (LOGITS, np.float32, (-1, classes)),
        (PROBABILITIES, np.float32, (-1, classes)),
        (CLASS, np.int64, (-1,)),
    ]
    mlflow.onnx.save_model(
        onnx.load(str(onnx_file)),
        str(folder),
        signature=_signature(np.float32, image_shape, outputs),
        input_example=np.zeros((EXAMPLES, *image_shape), dtype=np.float32),
        pip_requirements=_requirements("onnx", "onnxruntime", "numpy"),
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,  # one file, the one that was checked
    )
    if sha256_file(folder / ONNX_FILE) != sha256_file(onnx_file):
        raise LenetError(f"{onnx_file}: mlflow wrote other bytes of it; install the onnx of constraints.txt")


def pack_torch(network: Classifier, classes: int, folder: Path) -> None:
    """Write a network as an MLflow model in pt2 format: uint8 images to float32 logits [n, classes]."""
    import mlflow.pytorch
    import numpy as np

    mlflow.pytorch.save_model(
        network.eval(),
        str(folder),
        signature=_signature(np.uint8, network.image_shape, [(None, np.float32, (-1, classes))]),
        input_example=np.zeros((EXAMPLES, *network.image_shape), dtype=np.uint8),
        serialization_format="pt2",
        pip_requirements=_requirements("torch", "numpy"),
    )


def _signature(
    pixels: type, image_shape: tuple[int, int, int], outputs: Sequence[tuple[str | None, type, tuple[int, ...]]]
) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(pixels), (-1, *image_shape))]),
        outputs=Schema([TensorSpec(np.dtype(kind), shape, name) for name, kind, shape in outputs]),
    )


def _requirements(*packages: str) -> list[str]:
    """Return the packages that a served model needs, pinned; MLflow would take seconds to guess them."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in packages]


def log_export(project: Project, run_ref: MlflowRunRef, run_dir: RunDir) -> None:
    """Log size and latency of a run's exported network as metrics of the run, where the export stage measured them.

    Raises:
        MlflowException, OSError: the store is away or refuses.
    """
    known = _export_of(project, run_dir)
    if known is None:
        return
    from mlflow.entities import Metric

    client, when = open_store(project, run_ref.uri), int(time.time() * MILLISECONDS)
    logged = client.get_run(run_ref.run_id).data.metrics
    shown = export_metrics(known, _latencies(project, known["onnx_sha256"]))
    new = [Metric(name, value, when, 0) for name, value in shown.items() if logged.get(name) != value]
    if new:
        client.log_batch(run_ref.run_id, metrics=new)


def _latencies(project: Project, onnx_sha256: str) -> dict[str, Any]:
    """Return what the export stage measured here of a file; nothing where DVC restored it from its cache."""
    try:
        measured = read_json(project.root / LATENCY)
        return dict(measured["latency_ms"]) if measured["onnx_sha256"] == onnx_sha256 else {}
    except (FileNotFoundError, DamagedError):
        return {}


def _export_of(project: Project, run_dir: RunDir) -> dict[str, Any] | None:
    """Return what the export stage wrote, where it exported this run."""
    try:
        known = read_json(project.root / EXPORT)
        return known if known["metadata"] == onnx_metadata(from_run(run_dir)) else None
    except (FileNotFoundError, DamagedError):
        return None
