"""Export a trained network as an ONNX file that is checked against torch on every test image, and measure its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.core.atomic_io import atomic_write, canonical_json
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.evaluation.trained_model import TrainedModel
from lenet.export.onnx_file import export_onnx
from lenet.runs.run_dir import RunDir

if TYPE_CHECKING:
    from lenet.export.onnx_model import Agreement
    from lenet.models.classifier import Classifier


def export_checked(project: Project, model: TrainedModel, network: Classifier, path: Path) -> Agreement:
    """Write a network as ONNX, once onnxruntime classifies every image of the test set as torch does.

    Args:
        project: where the test set and the run directories are.
        model: the record of the network.
        network: the same, loaded.
        path: the ONNX file.

    Raises:
        LenetError: the two differ; nothing is written.
    """
    from lenet.evaluation.scoring import read_test
    from lenet.export.onnx_model import TOLERANCE, compare_with_torch

    with atomic_write(path) as temporary:
        export_onnx(network, temporary, onnx_metadata(project, model))
        found = compare_with_torch(temporary, network, read_test(project, model.config.data.name).images)
        if not found.holds:
            raise LenetError(
                f"{path}: not written: onnxruntime classifies {found.images - found.same_answers} of {found.images:,}"
                f" test images otherwise than torch, and logits differ by {found.largest_difference:.1e}"
                f" ({TOLERANCE:.0e} is allowed); other versions of torch, onnxscript or onnxruntime may agree"
            )
    return found


def onnx_metadata(project: Project, model: TrainedModel) -> dict[str, str]:
    """Return the metadata of a network's ONNX file, by the names of the registry's tags.

    The commit is that of the training; it is empty where the run's folder is not here, and outside git.
    """
    data = model.config.data
    attempts = RunDir(project.runs / model.fingerprint).status()["attempts"]
    return {
        "lenet.fingerprint": model.fingerprint,
        "lenet.weights_sha256": model.weights_sha256,
        "lenet.data": data.name,
        "lenet.data_digest": model.data_digest,
        "lenet.labels": canonical_json(list(data.classes)),
        "lenet.git_commit": (attempts[-1]["git"]["commit"] or "") if attempts else "",
    }


def measure_cost(network: Classifier, path: Path) -> dict[str, Any]:
    """Return what a network costs by torch and by onnxruntime: parameters, bytes, milliseconds on one thread."""
    from lenet.evaluation.latency import BATCHES, count_parameters, count_weight_bytes, measure_latency
    from lenet.export.onnx_model import OnnxClassifier

    runtimes = {"torch": network, "onnxruntime": OnnxClassifier(path)}
    return {
        "parameters": count_parameters(network),
        "weight_bytes": count_weight_bytes(network),
        "latency": {
            runtime: {f"images_{images}": asdict(measure_latency(module, images)) for images in BATCHES}
            for runtime, module in runtimes.items()
        },
    }


def export_metrics(body: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of results/export.json that MLflow shows as metrics, by their names there."""
    shown = {"export/onnx_bytes": float(body["onnx_bytes"]), "export/parameters": float(body["parameters"])}
    for runtime, by_images in body["latency"].items():
        shown |= {f"export/{runtime}_{images}_ms": found["median_ms"] for images, found in by_images.items()}
    return shown
