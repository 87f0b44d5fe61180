"""What report and model card both say: the chosen variant, the runner-up, tests of their difference, robustness.

Choice and runner-up are those of validation. The test set says whether two recipes differ, and is used for no choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import SIGNIFICANT, spread
from lenet.evaluation.stats.welch import CLAIM_SEEDS, POWER, SeedComparison, welch_test
from lenet.evaluation.trained_model import TrainedModel

Tree = Mapping[str, Any]

Trained = Mapping[str, Sequence[TrainedModel]]
"""Each variant's networks, one a seed."""

ErrorsBySeed = Mapping[str, Mapping[int, float]]
"""For each variant its validation error in percent, by seed."""

LEVELS = {"shift": 10.0, "rotation": 30.0, "Gaussian noise": 0.3, "salt and pepper": 0.1}
"""The strength that tables show of each kind of distortion, or the measured one next to it; the figure has all."""


@dataclass(frozen=True)
class Summary:
    """The chosen variant and the runner-up.

    Attributes:
        best: the chosen variant.
        second: the variant with the next mean validation error; None where there is no other.
        seeds: Welch's test of best minus second over their validation errors; None where it cannot be made.
        why_no_test: the reason then.
        pair: best minus second on the test images, a row of results/quality.json; None where it was not measured.
        pairs: how many pairs were compared there.
        lowest_on_test: a variant whose mean test error is below the chosen one's, the lowest of these.
    """

    best: str
    second: str | None
    seeds: SeedComparison | None
    why_no_test: str
    pair: Tree | None
    pairs: int
    lowest_on_test: str | None


def validation_errors(trained: Trained) -> ErrorsBySeed:
    """Return the validation errors of each variant's networks."""
    return {
        variant: {model.seed: model.metrics["val/error"] for model in models if "val/error" in model.metrics}
        for variant, models in trained.items()
    }


def comparison_facts(evaluation: Tree, quality: Tree, errors: ErrorsBySeed) -> dict[str, Any]:
    """Return what lead.md.j2, chance.md.j2 and variants.md.j2 say; arguments as those of `summarize`."""
    return {
        "evaluation": evaluation,
        "summary": summarize(evaluation, quality, errors),
        "ranking": ranking(evaluation),
        "claim_seeds": CLAIM_SEEDS,
        "significant": SIGNIFICANT,
        "power": POWER,
    }


def ranking(evaluation: Tree) -> list[str]:
    """Return the variants, lowest mean validation error first; of equals the chosen one leads."""
    choice = evaluation["choice"]["variant"]
    found = evaluation["variants"]
    return sorted(found, key=lambda name: (found[name]["validation_error"]["mean"], name != choice))


def summarize(evaluation: Tree, quality: Tree, errors: ErrorsBySeed) -> Summary:
    """Compare the chosen variant with the runner-up.

    Args:
        evaluation: results/evaluation.json.
        quality: results/quality.json, of which only `pairs` is read.
        errors: validation errors in percent by seed; variants may have different seeds.
    """
    best, *others = ranking(evaluation)
    if not others:
        return Summary(best, None, None, "", None, 0, None)
    second, seeds, reason = others[0], None, ""
    try:
        seeds = welch_test(list(errors[best].values()), list(errors[second].values()), evaluation["confidence"])
    except LenetError as error:
        reason = str(error)
    means = {name: found["test_error"]["mean"] for name, found in evaluation["variants"].items()}
    lowest = min(means, key=lambda name: means[name])
    return Summary(
        best,
        second,
        seeds,
        reason,
        _pair(quality, best, second),
        len(quality["pairs"]),
        lowest if means[lowest] < means[best] else None,
    )


def _pair(quality: Tree, best: str, second: str) -> Tree | None:
    """Return the comparison of two variants on the test images as best minus second."""
    pair = next((one for one in quality["pairs"] if {one["a"], one["b"]} == {best, second}), None)
    if pair is None or pair["a"] == best:
        return pair
    low, high = pair["interval"]
    turned = {"a": best, "b": second, "difference": -pair["difference"], "interval": [-high, -low]}
    return {**pair, **turned, "seeds": pair["seeds"][::-1]}


def distortion_rows(networks: Mapping[str, list[Tree]]) -> list[dict[str, Any]]:
    """Return for each kind of LEVELS its unit and strength, and each variant's error in percent over its seeds."""
    found = []
    for kind, shown in LEVELS.items():
        curve = next(one for one in next(iter(networks.values()))[0]["robustness"] if one["distortion"] == kind)
        level = min(curve["levels"], key=lambda one: abs(one - shown))
        errors = {name: vars(spread([error_at(one, kind, level) for one in own])) for name, own in networks.items()}
        found.append({"kind": kind, "level": level, "unit": curve["unit"], "errors": errors})
    return found


def error_at(network: Tree, kind: str, level: float) -> float:
    """Return the error in percent of one network of results/quality.json under one distortion of this strength."""
    curve = next(one for one in network["robustness"] if one["distortion"] == kind)
    return float(curve["errors"][curve["levels"].index(level)])
