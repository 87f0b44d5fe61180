"""Write a trained network as an ONNX file: pixels in, classes out, and the same file for the same weights.

Pixels are whole numbers from 0 to 255, held as float32: MLflow's server casts what was sent to the type that the file
names, and an image of floats from 0 to 1 cast to bytes is a blank one. The file itself refuses such values:
onnxruntime fails at the node that is named for what it checks.

The exporter is the one that reads `torch.export` graphs. The older one, which traces, needs no onnxscript, but torch
calls it legacy since 2.9 and warns at every call; the registry's `.pt2` comes from `torch.export` too.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.core.atomic_io import write_bytes

if TYPE_CHECKING:
    from onnx import ModelProto

    from lenet.models.classifier import Classifier

OPSET = 18
"""Version of ONNX's operators: what the exporter is written for; onnxruntime 1.14 and later know it."""

INPUT, BATCH = "images", "n"
LOGITS, PROBABILITIES, CLASS = "logits", "probabilities", "class"
"""Outputs: float32 [n, classes], their softmax, and int64 [n], the class of the highest logit."""

PIXEL_CHECK = "pixels_must_be_whole_numbers_from_0_to_255"
"""Name of the node that fails for other values; it stands in onnxruntime's message."""

BYTES = "bytes"
EXAMPLES = 2
"""Images of the example that is exported with: torch.export takes a batch of one for a constant."""

EXPORTERS_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


def export_onnx(network: Classifier, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network with its normalisation as ONNX: images [n, c, h, w] to logits, probabilities and class.

    The images are float32 whole numbers from 0 to 255; onnxruntime raises for other values.

    The same weights and metadata give the same bytes, on any machine and from any folder, with these versions of torch,
    onnx and onnxscript.

    Args:
        network: from bytes to logits, it stays as and where it is.
        path: the file; a crash leaves the old one or the new.
        metadata: what the file says of itself (`metadata_props`), such as the run's fingerprint.
    """
    import onnx
    import torch

    copied = copy.deepcopy(network).cpu().eval()
    example = torch.zeros((EXAMPLES, *network.image_shape), dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            copied,
            (example,),
            input_names=[BYTES],
            output_names=[LOGITS],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip_origin(model)
    _check_pixels(model)
    _add_classes(model)
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString(deterministic=True))


def _strip_origin(model: ModelProto) -> None:
    """Remove what the exporter noted of the machine: source lines with their paths, and torch's build."""
    graph = model.graph
    model.producer_version = model.producer_version.partition("+")[0]  # 2.13.0+cpu and +cu130 export alike
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _check_pixels(model: ModelProto) -> None:
    """Put before a graph of bytes nodes that take float32 pixels and fail for those that are no bytes.

    ONNX has no operator that raises, but reading beyond the end of a list does.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    shape = [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape))
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    checks = [
        helper.make_node("Cast", [INPUT], ["as_bytes"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["as_bytes"], ["back"], to=TensorProto.FLOAT),
        helper.make_node("Equal", [INPUT, "back"], ["same"]),
        helper.make_node("Not", ["same"], ["differs"]),
        helper.make_node("Cast", ["differs"], ["differences"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["differences"], ["beyond"], keepdims=0),
        helper.make_node("Gather", ["zero", "beyond"], ["nothing"], name=PIXEL_CHECK),
        helper.make_node("Add", [INPUT, "nothing"], ["checked"]),
        helper.make_node("Cast", ["checked"], [BYTES], to=TensorProto.UINT8),
    ]
    for node in reversed(checks):
        graph.node.insert(0, node)


def _add_classes(model: ModelProto) -> None:
    """Add probabilities and classes to the outputs of a graph that gives logits."""
    from onnx import TensorProto, helper

    graph = model.graph
    rows, classes = (dim.dim_param or dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim)
    graph.node.append(helper.make_node("Softmax", [LOGITS], [PROBABILITIES], axis=1))
    graph.node.append(helper.make_node("ArgMax", [LOGITS], [CLASS], axis=1, keepdims=0))
    graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [rows, classes]))
    graph.output.append(helper.make_tensor_value_info(CLASS, TensorProto.INT64, [rows]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporter's messages about its progress and about operators that are not used here."""
    loggers = [logging.getLogger(name) for name in EXPORTERS_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
