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
        export_onnx(network, temporary, onnx_metadata(model))
        found = compare_with_torch(temporary, network, read_test(project, model.config.data.name).images)
        if not found.holds:
            raise LenetError(
                f"{path}: not written: onnxruntime classifies {found.images - found.same_answers} of {found.images:,}"
                f" test images otherwise than torch, and logits differ by {found.largest_difference:.1e}"
                f" ({TOLERANCE:.0e} is allowed); other versions of torch, onnxscript or onnxruntime may agree"
            )
    return found


def onnx_metadata(model: TrainedModel) -> dict[str, str]:
    """Return the metadata of a network's ONNX file, by the names of the registry's tags.

    Commit and machine are the run's to tell: the file is the same wherever the same network was trained.
    """
    data = model.config.data
    return {
        "lenet.fingerprint": model.fingerprint,
        "lenet.weights_sha256": model.weights_sha256,
        "lenet.data": data.name,
        "lenet.data_digest": model.data_digest,
        "lenet.labels": canonical_json(list(data.classes)),
    }


def measure_latencies(network: Classifier, path: Path) -> dict[str, Any]:
    """Return how long a network takes by torch and by onnxruntime on one thread of this machine, in milliseconds."""
    from lenet.evaluation.latency import BATCHES, measure_latency
    from lenet.export.onnx_model import OnnxClassifier

    runtimes = {"torch": network, "onnxruntime": OnnxClassifier(path)}
    return {
        runtime: {f"images_{images}": asdict(measure_latency(module, images)) for images in BATCHES}
        for runtime, module in runtimes.items()
    }


def export_metrics(body: Mapping[str, Any], latencies: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of an export that MLflow shows as metrics, by their names there.

    Args:
        body: results/export.json.
        latencies: as `measure_latencies` returns them; empty where this machine measured none.
    """
    shown = {"export/onnx_bytes": float(body["onnx_bytes"]), "export/parameters": float(body["parameters"])}
    for runtime, by_images in latencies.items():
        shown |= {f"export/{runtime}_{images}_ms": found["median_ms"] for images, found in by_images.items()}
    return shown
