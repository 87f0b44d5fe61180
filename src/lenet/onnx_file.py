"""A trained network as an ONNX file: raw bytes in, logits out, and the same file for the same weights.

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

from lenet.data.prepare import IMAGE_SHAPE
from lenet.durable import write_bytes

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

OPSET = 18
"""Version of ONNX's operators: what the exporter is written for; onnxruntime 1.14 and later know it."""

INPUT, OUTPUT, BATCH = "images", "logits", "n"
EXAMPLES = 2
"""Images of the example that is exported with: torch.export takes a batch of one for a constant."""

EXPORTERS_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


def export_onnx(reader: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a network with its normalisation as ONNX: uint8 images [n, 28, 28] to float32 logits [n, classes].

    The same weights and metadata give the same bytes, on any machine and from any folder, with these versions of torch,
    onnx and onnxscript.

    Args:
        reader: from bytes to logits, as `DigitReader`; it stays as and where it is.
        path: the file; a crash leaves the old one or the new.
        metadata: what the file says of itself (`metadata_props`), such as the run's fingerprint.
    """
    import onnx
    import torch

    network = copy.deepcopy(reader).cpu().eval()
    example = torch.zeros((EXAMPLES, *IMAGE_SHAPE), dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_origin(model)
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString(deterministic=True))


def read_metadata(path: Path) -> dict[str, str]:
    """Return what an ONNX file says of itself."""
    import onnx

    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


def read_opset(path: Path) -> int:
    """Return the version of ONNX's own operators that a file asks for."""
    import onnx

    return int(next(entry.version for entry in onnx.load(str(path)).opset_import if entry.domain in {"", "ai.onnx"}))


def _forget_origin(model: ModelProto) -> None:
    """Take away what the exporter noted of the machine: source lines with their paths, and torch's build."""
    graph = model.graph
    model.producer_version = model.producer_version.partition("+")[0]  # 2.13.0+cpu and +cu130 export alike
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter tells of its own progress and of operators that nobody asked for."""
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
