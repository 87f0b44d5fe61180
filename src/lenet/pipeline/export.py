"""The export stage: write the chosen network as an ONNX file that is checked against torch on every test image."""

from __future__ import annotations

import logging
from typing import Any

from lenet.config.params import Params
from lenet.core.atomic_io import sha256_file, write_json
from lenet.core.paths import BUILT_EXPORT, EXPORT, LATENCY, SIZE_METRICS
from lenet.core.project import Project
from lenet.evaluation.trained_model import read_chosen
from lenet.export.export_model import export_checked, measure_latencies, onnx_metadata
from lenet.export.onnx_file import OPSET
from lenet.pipeline.dvc_metrics import write_metrics

logger = logging.getLogger(__name__)

KIBIBYTE = 1024


def export_chosen(project: Project, params: Params) -> None:
    """Write the chosen network as build/export/model.onnx, and what it is to results/export.json.

    Its latency, which is this machine's, goes to build/latency.json, and to MLflow with the register stage.

    Raises:
        DamagedError: weights or data are missing or damaged.
        LenetError: onnxruntime classifies an image otherwise than torch; nothing is written then.
    """
    from lenet.evaluation.latency import count_parameters, count_weight_bytes
    from lenet.export.onnx_model import TOLERANCE

    model = read_chosen(project)
    path = project.root / BUILT_EXPORT
    network = model.load()
    agreement = export_checked(project, model, network, path)
    body: dict[str, Any] = {
        "model": params.register.model,
        "variant": model.config.name,
        "seed": model.seed,
        "opset": OPSET,
        "onnx_sha256": sha256_file(path),
        "onnx_bytes": path.stat().st_size,
        "metadata": onnx_metadata(model),
        "agreement": {"images": agreement.images, "same_answers": agreement.same_answers, "tolerance": TOLERANCE},
        "parameters": count_parameters(network),
        "weight_bytes": count_weight_bytes(network),
    }
    write_json(project.root / EXPORT, body)
    latencies = {"onnx_sha256": body["onnx_sha256"], "latency_ms": measure_latencies(network, path)}
    write_json(project.root / LATENCY, latencies)
    size = {"parameters": body["parameters"], "onnx_kib": round(body["onnx_bytes"] / KIBIBYTE, 1)}
    write_metrics(project.root / SIZE_METRICS, size)
    logger.info(
        f"{BUILT_EXPORT}: {model.name}, {body['onnx_bytes'] / KIBIBYTE:.0f} KiB, classifies {agreement.images:,} test"
        f" images as torch does (logits differ by {agreement.largest_difference:.1e} at most)"
    )
