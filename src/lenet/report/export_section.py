"""What the report says of the exported network: its size, its latency, and that it reads as the trained one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lenet.report.document import Table

KIBIBYTE = 1024


def export_paragraph(export: Mapping[str, Any]) -> str:
    """Return what results/export.json says of the ONNX file in sentences."""
    agreement = export["agreement"]
    return (
        f"{export['variant']} with seed {export['seed']} as ONNX (opset {export['opset']}, sha256"
        f" {export['onnx_sha256'][:12]}): {export['onnx_bytes'] / KIBIBYTE:.0f} KiB, of which its"
        f" {export['parameters']:,} parameters and what else the network keeps, such as its normalisation, are"
        f" {export['weight_bytes'] / KIBIBYTE:.0f} KiB. onnxruntime gives the same answer as torch for"
        f" {agreement['same_answers']:,} of {agreement['images']:,} test images; logits differ by"
        f" {agreement['largest_difference']:.1e} at most. Latency is that of one call on one thread of the machine that"
        " ran the export stage, from bytes to logits: median and, in brackets, the middle half of the calls."
    )


def export_table(export: Mapping[str, Any]) -> Table:
    """Return the latencies: a row for each number of images in a call, a column for each runtime."""
    runtimes = list(export["latency"])
    keys = list(export["latency"][runtimes[0]])
    rows = [
        (
            f"{export['latency'][runtimes[0]][key]['images']:,}",
            *(_shown(export["latency"][one][key]) for one in runtimes),
        )
        for key in keys
    ]
    return Table(("images a call", *(f"{runtime}, ms" for runtime in runtimes)), rows)


def _shown(found: Mapping[str, Any]) -> str:
    low, high = found["lower_quartile_ms"], found["upper_quartile_ms"]
    return f"{found['median_ms']:.3g} ({low:.3g}–{high:.3g}; n = {found['repeats']})"
