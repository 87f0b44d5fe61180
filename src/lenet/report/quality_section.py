"""What the report says beyond the error: every variant against every other, calibration, robustness."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from lenet.evaluation.metrics import SIGNIFICANT
from lenet.evaluation.stats.welch import CLAIM_SEEDS
from lenet.report.document import Table

PAIRS_READING = (
    "All seeds of each variant against all seeds of every other, on the same test images: the difference of the mean"
    " errors with its interval over images and seeds, and p adjusted for the number of comparisons after Holm. “Not"
    " shown” says that this test finds no difference, not that there is none. Two networks are compared by “lenet"
    " compare”."
)
CALIBRATION_READING = (
    "Calibration error (15 bins) is how far confidence and accuracy lie apart, in points; label smoothing makes a"
    " network less sure than it is right, and so raises it. The errors under distortion are means over the seeds on"
    " the same 2,000 test images, drawn by class."
)
SHOWN_LEVELS = {"shift": 3.0, "rotation": 30.0, "Gaussian noise": 0.3, "salt and pepper": 0.1}
"""Of each kind of distortion one strength that a table has room for; the picture has them all."""


def pairs_table(quality: dict[str, Any]) -> Table:
    """Return the comparisons, the clearest first."""
    rows = []
    for one in sorted(quality["pairs"], key=lambda pair: (pair["holm_p"], pair["p"])):
        low, high = one["interval"]
        better = one["a"] if one["difference"] < 0 else one["b"]
        shown = one["holm_p"] < SIGNIFICANT and min(one["seeds"]) >= CLAIM_SEEDS
        rows.append(
            (
                f"{one['a']} – {one['b']}",
                f"{one['seeds'][0]} : {one['seeds'][1]}",
                f"{one['difference']:+.2f} ({low:+.2f} to {high:+.2f})",
                f"{one['holm_p']:.2g}",
                better if shown else "not shown",
            )
        )
    return Table(("pair", "seeds", "difference, points", "p (Holm)", "better"), rows)


def quality_table(evaluation: dict[str, Any], quality: dict[str, Any]) -> Table:
    """Return calibration and some distorted errors of each variant, means over its seeds."""
    rows = []
    for name, found in quality["networks"].items():
        calibration = evaluation["variants"][name]["calibration_error"]
        spread = "" if calibration["deviation"] is None else f" ± {calibration['deviation']:.2f}"
        distorted = [
            f"{mean(distorted_error(one, kind, level) for one in found):.1f}" for kind, level in SHOWN_LEVELS.items()
        ]
        rows.append((name, f"{found[0]['parameters']:,}", f"{calibration['mean']:.2f}{spread}", *distorted))
    units = {curve["distortion"]: curve["unit"] for curve in next(iter(quality["networks"].values()))[0]["robustness"]}
    heads = [f"{kind} {level:g} {units[kind].split(' ')[0]} %" for kind, level in SHOWN_LEVELS.items()]
    return Table(("variant", "parameters", "calibration error", *heads), rows)


def distorted_error(network: Mapping[str, Any], kind: str, level: float) -> float:
    """Return the error in percent of one network of results/quality.json under one distortion of this strength."""
    curve = next(one for one in network["robustness"] if one["distortion"] == kind)
    return float(curve["errors"][curve["levels"].index(level)])
