"""The evaluation of all variants: choose one on validation first, then evaluate every network on the test set."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lenet.core.atomic_io import remove
from lenet.core.errors import DamagedError
from lenet.core.paths import BUILT_PREDICTIONS, PLOTS
from lenet.core.project import Project
from lenet.data.arrays import read_card
from lenet.evaluation.evaluate_model import DECIMALS, evaluate_models
from lenet.evaluation.label_errors import doubtful_indices
from lenet.evaluation.metrics import confusion, misclassified, spread
from lenet.evaluation.model_selection import choose
from lenet.evaluation.plots.misclassified import draw_misclassified
from lenet.evaluation.plots.quality import draw_quality
from lenet.evaluation.plots.run import CONFUSION, MISCLASSIFIED, confusion_matrix
from lenet.evaluation.plots.variants import VariantErrors, compare_errors
from lenet.evaluation.scoring import read_test
from lenet.evaluation.stats.images_and_seeds import (
    MIN_SEEDS,
    Misclassified,
    compare_recipes,
    comparison_matrix,
    difference_tree,
    error_interval,
)
from lenet.evaluation.trained_model import TrainedModel
from lenet.runs.run_dir import SHORT, RunDir
from lenet.tracking.entities import EVALUATION, evaluation


def evaluate(
    project: Project,
    data: str,
    trained: Mapping[str, Sequence[TrainedModel]],
    confidence: float,
    baseline: str,
    workers: int = 1,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose on validation, then evaluate every trained network on the test set.

    Writes the logits of each network, [n, classes], as build/predictions/<variant>/seed-<seed>.npy, and the pictures
    to results/plots/.

    Args:
        project: where things are.
        data: name of the data set.
        trained: each variant's networks, one a seed.
        confidence: of the intervals.
        baseline: the variant that the chosen one is compared with, on the test set and as the last thing done.
        workers: networks that are evaluated at once.

    Returns:
        The content of results/evaluation.json: the choice, each variant's metrics, and its comparison with the
        baseline, errors in percent; and of results/quality.json: the comparison of every pair, and the other figures
        of each network (`evaluate_model`).

    Raises:
        LenetError: a variant has no validation error to choose by.
        DamagedError: weights or the test set are not those on record.
    """
    choice = choose(
        {
            variant: {model.seed: model.metrics["val/error"] for model in models if "val/error" in model.metrics}
            for variant, models in trained.items()
        }
    )
    test = read_test(project, data)
    predictions, plots = project.root / BUILT_PREDICTIONS, project.root / PLOTS
    remove(predictions, project.root)
    files = {
        variant: [predictions / variant / f"seed-{model.seed}.npy" for model in models]
        for variant, models in trained.items()
    }
    pairs = [pair for variant in trained for pair in zip(trained[variant], files[variant], strict=True)]
    measured = iter(evaluate_models(pairs, project.prepared(data), confidence, workers))
    variants: dict[str, dict[str, Any]] = {}
    qualities: dict[str, tuple[dict[str, Any], ...]] = {}
    wrong: dict[str, Misclassified] = {}
    for variant, models in trained.items():
        rows, qualities[variant] = zip(*itertools.islice(measured, len(models)), strict=True)
        wrong[variant] = np.stack([misclassified(np.load(path), test.labels) for path in files[variant]])
        for row in rows:
            _write_to_run(project, row, test.digest)
        low, high = error_interval(wrong[variant], confidence)
        variants[variant] = {
            "test_error": asdict(spread([row["error"] for row in rows])),
            "interval": [round(low, DECIMALS), round(high, DECIMALS)],
            "test_loss": asdict(spread([row["loss"] for row in rows])),
            "runs": list(rows),
            "validation_error": asdict(choice.validation[variant]),
            "calibration_error": asdict(spread([quality["calibration_error"] for quality in qualities[variant]])),
        }
    chosen = next(model for model in trained[choice.variant] if model.seed == choice.seed)
    title = f"{choice.variant}, seed {choice.seed} (run {chosen.fingerprint[:SHORT]})"
    names = chosen.config.data.classes
    logits = np.load(predictions / choice.variant / f"seed-{choice.seed}.npy")
    positions, doubtful = np.arange(len(test.labels)), doubtful_indices(read_card(project.prepared(data)))
    plots.mkdir(parents=True, exist_ok=True)
    errors = [
        VariantErrors(name, [run["misclassified"] for run in found["runs"]], len(test.labels), tuple(found["interval"]))
        for name, found in variants.items()
    ]
    compare_errors(errors, plots / "test_errors.png", confidence=confidence)
    confusion_matrix(confusion(logits, test.labels, len(names)), names, plots / CONFUSION, title)
    draw_misclassified(test.images, test.labels, logits, names, plots / MISCLASSIFIED, title, positions, doubtful)
    draw_quality(plots, qualities, choice.variant, names, confidence)
    body = {
        "data": data,
        "test_digest": test.digest,
        "images": len(test.labels),
        "confidence": confidence,
        "choice": {"variant": choice.variant, "seed": choice.seed, "by": "mean validation error over the seeds"},
        "against_baseline": _against_baseline(baseline, choice.variant, wrong, confidence),
        "trained_by": sorted({model.trained_by for models in trained.values() for model in models}),
        "variants": variants,
    }
    quality = {
        "test_digest": test.digest,
        "confidence": confidence,
        "pairs": comparison_matrix(wrong, confidence),
        "networks": {variant: list(found) for variant, found in qualities.items()},
    }
    return body, quality


def _against_baseline(
    baseline: str, chosen: str, wrong: Mapping[str, Misclassified], confidence: float
) -> dict[str, Any] | None:
    """Compare the chosen recipe with the baseline on the test set; None where they are one or have a single seed."""
    if baseline == chosen or min(len(wrong[name]) for name in (baseline, chosen)) < MIN_SEEDS:
        return None
    return {"baseline": baseline} | difference_tree(compare_recipes(wrong[chosen], wrong[baseline], confidence))


def _write_to_run(project: Project, row: dict[str, Any], test_digest: str) -> None:
    """Write a network's test error to its run directory too, from where it goes to MLflow, unless it is elsewhere."""
    folder = RunDir(project.runs / row["fingerprint"])
    if folder.state() is None:
        return
    metrics = {"test/error": row["error"], "test/loss": row["loss"]}
    body = {"test_digest": test_digest, "measures": metrics, "interval": row["interval"]}
    try:
        known = evaluation(folder)
    except DamagedError:
        known = {}
    if {name: known.get(name) for name in body} != body:
        folder.write(EVALUATION, body | {"evaluated": time.time()})
