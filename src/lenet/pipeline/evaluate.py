"""The evaluation of all variants: the choice first, on validation; then the test set."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.core.atomic_io import remove
from lenet.core.errors import DamagedError
from lenet.core.paths import BUILT_PREDICTIONS, PLOTS
from lenet.core.project import Project
from lenet.data.arrays import load_test, read_card
from lenet.evaluation import metrics as measures
from lenet.evaluation.evaluate_model import evaluate_models
from lenet.evaluation.label_errors import doubtful_indices
from lenet.evaluation.metrics import spread
from lenet.evaluation.model_selection import choose
from lenet.evaluation.plots.draw_quality import draw_quality
from lenet.evaluation.plots.variants import VariantErrors, compare_errors
from lenet.evaluation.stats.images_and_seeds import (
    MIN_SEEDS,
    Misread,
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
    """Choose on validation, then read the test set with every trained network.

    Args:
        project: where things are.
        data: name of the data set.
        trained: each variant's networks, one a seed.
        confidence: of the intervals.
        baseline: the variant that the chosen one is compared with, on the test set and as the last thing done.
        workers: networks that are measured at once.

    Returns:
        The choice, each variant's measures and its comparison with the baseline, errors in percent; and, apart, the
        comparison of every pair and the qualities of each network (`evaluate_model`).
    """
    errors = {
        variant: {model.seed: model.metrics["val/error"] for model in models if "val/error" in model.metrics}
        for variant, models in trained.items()
    }
    choice = choose(errors)
    prepared = project.prepared(data)
    card = read_card(prepared)
    images, labels = load_test(prepared)
    predictions, plots = project.root / BUILT_PREDICTIONS, project.root / PLOTS
    remove(predictions, project.root)
    files = {
        variant: [predictions / variant / f"seed-{model.seed}.npy" for model in models]
        for variant, models in trained.items()
    }
    pairs = [pair for variant in trained for pair in zip(trained[variant], files[variant], strict=True)]
    measured = iter(evaluate_models(pairs, prepared, confidence, workers))
    variants, qualities, wrong = {}, {}, {}
    for variant, models in trained.items():
        wrong[variant] = np.stack([measures.misclassified(np.load(path), labels) for path in files[variant]])
        own = list(itertools.islice(measured, len(models)))
        rows = [row for row, _ in own]
        for row in rows:
            _tell_run(project, row, card["test_digest"])
        variants[variant] = _variant(rows, wrong[variant], confidence) | {
            "validation_error": asdict(choice.validation[variant]),
            "calibration_error": asdict(spread([quality["calibration_error"] for _, quality in own])),
        }
        qualities[variant] = [quality for _, quality in own]
    logits = np.load(predictions / choice.variant / f"seed-{choice.seed}.npy")
    best = next(row for row in variants[choice.variant]["runs"] if row["seed"] == choice.seed)
    network = f"{choice.variant}, seed {choice.seed} (run {best['fingerprint'][:SHORT]})"
    _draw(plots, variants, logits, labels, images, network, confidence)
    draw_quality(plots, qualities, choice.variant, confidence)
    body = {
        "data": data,
        "test_digest": card["test_digest"],
        "images": len(labels),
        "confidence": confidence,
        "choice": {"variant": choice.variant, "seed": choice.seed, "by": "mean validation error over the seeds"},
        "against_baseline": _against(baseline, choice.variant, wrong, confidence),
        "threads": sorted({count for models in trained.values() for model in models for count in model.threads}),
        "variants": variants,
    }
    quality = {
        "test_digest": card["test_digest"],
        "confidence": confidence,
        "pairs": comparison_matrix(wrong, confidence),
        "networks": qualities,
    }
    return body, quality


def _against(baseline: str, chosen: str, wrong: dict[str, Misread], confidence: float) -> dict[str, Any] | None:
    """Return the chosen recipe against the baseline on the test set; None where they are one, or one seed is all."""
    if baseline == chosen or min(len(wrong[name]) for name in (baseline, chosen)) < MIN_SEEDS:
        return None
    return {"baseline": baseline} | difference_tree(compare_recipes(wrong[chosen], wrong[baseline], confidence))


def _variant(rows: list[dict[str, Any]], wrong: Misread, confidence: float) -> dict[str, Any]:
    error = spread([row["error"] for row in rows])
    low, high = error_interval(wrong, confidence)
    loss = spread([row["loss"] for row in rows])
    return {
        "test_error": asdict(error),
        "interval": [round(low, 4), round(high, 4)],
        "test_loss": asdict(loss),
        "runs": rows,
    }


def _tell_run(project: Project, row: dict[str, Any], test_digest: str) -> None:
    """Keep the answer in the run's folder too, from where MLflow gets it; a run trained elsewhere has none here."""
    folder = RunDir(project.runs / row["fingerprint"])
    if folder.state() is None:
        return
    shown = {"test/error": row["error"], "test/loss": row["loss"]}
    body = {"test_digest": test_digest, "measures": shown, "interval": row["interval"]}
    try:
        known = evaluation(folder)
    except DamagedError:
        known = {}
    if {name: known.get(name) for name in body} != body:
        folder.write(EVALUATION, body | {"evaluated": time.time()})


def _draw(
    plots: Path,
    variants: dict[str, Any],
    logits: NDArray[np.float32],
    labels: NDArray[np.uint8],
    images: NDArray[np.uint8],
    network: str,
    confidence: float,
) -> None:
    from lenet.evaluation.plots import run as draw
    from lenet.evaluation.plots.misclassified import draw_misclassified

    plots.mkdir(parents=True, exist_ok=True)
    rows = [
        VariantErrors(name, [run["misclassified"] for run in found["runs"]], len(labels), tuple(found["interval"]))
        for name, found in variants.items()
    ]
    compare_errors(rows, plots / "test_errors.png", confidence=confidence)
    classes = logits.shape[1]
    draw.confusion_matrix(measures.confusion(logits, labels, classes), plots / "confusion_matrix.png", network)
    places = np.arange(len(labels))
    draw_misclassified(images, labels, logits, plots / "misread_digits.png", network, places, doubtful_indices(labels))
