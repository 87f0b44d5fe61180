"""The pictures of what was measured beside the error, from the trees that results/quality.json holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lenet.evaluation.calibration import ReliabilityBin
from lenet.evaluation.metrics import ClassRecall
from lenet.evaluation.robustness import Curve

RELIABILITY, RECALL, ROBUSTNESS = "reliability.png", "recall.png", "robustness.png"


def draw_quality(
    plots: Path, qualities: Mapping[str, Sequence[dict[str, Any]]], chosen: str, confidence: float
) -> None:
    """Draw calibration and recall of the chosen variant's networks, and the robustness of every variant.

    Args:
        plots: folder of the pictures.
        qualities: for each variant what `quality.measure_network` told of each seed's network.
        chosen: the variant that was chosen on validation.
        confidence: that the intervals were made with.
    """
    from lenet.evaluation.plots.quality import recall_by_class, reliability_diagram, robustness_curves

    own = qualities[chosen]
    reliability_diagram(
        {f"seed {one['seed']}": [ReliabilityBin(**body) for body in one["reliability"]] for one in own},
        plots / RELIABILITY,
        f"{chosen}: is it as often right as it is sure?",
        confidence,
    )
    recall_by_class(
        {f"seed {one['seed']}": [ClassRecall(**body) for body in one["recalls"]] for one in own},
        plots / RECALL,
        f"{chosen}: digits of each class that are read right",
        confidence,
    )
    robustness_curves(
        {name: [[Curve(**body) for body in one["robustness"]] for one in found] for name, found in qualities.items()},
        plots / ROBUSTNESS,
        "Test error of distorted images",
    )
