"""The evaluation of all variants: the choice first, on validation; then, once, the test set."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.config import parse_config
from lenet.data.prepared import load_test, read_card
from lenet.durable import read_json, replacing, write_json
from lenet.errors import DamagedError
from lenet.evaluation import measures
from lenet.evaluation.choice import choose
from lenet.evaluation.comparisons import VariantErrors, compare_errors
from lenet.evaluation.predict import load_reader, predict_digits
from lenet.project import Project
from lenet.runs import RunFolder

Trained = dict[str, list[dict[str, Any]]]


def read_trained(folder: Path, variants: tuple[str, ...]) -> Trained:
    """Read what the training stages left: for each variant its runs.

    Raises:
        DamagedError: a stage's out is missing or damaged.
    """
    trained = {}
    for variant in variants:
        path = folder / variant / "runs.json"
        if not path.is_file():
            raise DamagedError(f"{path}: is missing; `dvc repro train@{variant}` makes it")
        trained[variant] = read_json(path)["runs"]
    return trained


def evaluate(
    project: Project, data: str, trained: Trained, built: Path, predictions: Path, plots: Path, confidence: float
) -> dict[str, Any]:
    """Choose on validation, then read the test set once with every trained network.

    Args:
        project: where things are.
        data: name of the data set.
        trained: what `read_trained` gave.
        built: folder of the trained weights, by variant and seed.
        predictions: folder for the logits of each network, [n, classes] as <variant>/seed-<seed>.npy.
        plots: folder for the pictures.
        confidence: of the intervals.

    Returns:
        The choice, and each variant's measures; errors in percent.
    """
    errors = {
        variant: {run["seed"]: run["measures"]["val/error"] for run in runs if "val/error" in run["measures"]}
        for variant, runs in trained.items()
    }
    choice = choose(errors)
    card = read_card(project.prepared(data))
    images, labels = load_test(project.prepared(data))
    shutil.rmtree(predictions, ignore_errors=True)
    variants: dict[str, Any] = {}
    logits_of: dict[tuple[str, int], NDArray[np.float32]] = {}
    for variant, runs in trained.items():
        rows = []
        for run in runs:
            config = parse_config(run["config"])
            weights = built / variant / f"seed-{run['seed']}" / "weights.safetensors"
            logits = predict_digits(load_reader(config, weights, run["weights_sha256"]), images)
            with replacing(predictions / variant / f"seed-{run['seed']}.npy") as path, path.open("wb") as stream:
                np.save(stream, logits)
            logits_of[variant, run["seed"]] = logits
            row = {"seed": run["seed"], "fingerprint": run["fingerprint"]} | _row(logits, labels, confidence)
            rows.append(row)
            _tell_run(project, row, card["test_digest"])
        variants[variant] = _variant(rows, len(labels), confidence) | {
            "validation_error": asdict(choice.validation[variant])
        }
    _draw(plots, variants, logits_of[choice.variant, choice.seed], labels, images, choice.variant)
    return {
        "data": data,
        "test_digest": card["test_digest"],
        "images": len(labels),
        "confidence": confidence,
        "choice": {"variant": choice.variant, "seed": choice.seed, "by": "mean validation error over the seeds"},
        "variants": variants,
    }


def _row(logits: NDArray[np.float32], labels: NDArray[np.uint8], confidence: float) -> dict[str, Any]:
    wrong = int(measures.misread(logits, labels).sum())
    low, high = measures.exact_interval(wrong, len(labels), confidence)
    return {
        "misread": wrong,
        "error": measures.error_percent(logits, labels),
        "interval": [round(low, 4), round(high, 4)],
        "loss": round(measures.negative_log_likelihood(logits, labels), 6),
    }


def _variant(rows: list[dict[str, Any]], images: int, confidence: float) -> dict[str, Any]:
    error = measures.spread([row["error"] for row in rows])
    low, high = measures.exact_interval(sum(row["misread"] for row in rows), images * len(rows), confidence)
    loss = measures.spread([row["loss"] for row in rows])
    return {
        "test_error": asdict(error),
        "interval": [round(low, 4), round(high, 4)],
        "test_loss": asdict(loss),
        "runs": rows,
    }


def _tell_run(project: Project, row: dict[str, Any], test_digest: str) -> None:
    """Keep the answer in the run's folder too, from where MLflow gets it; a run trained elsewhere has none here."""
    folder = RunFolder(project.runs / row["fingerprint"])
    if folder.state() is None:
        return
    path = folder.path / "evaluation.json"
    shown = {"test/error": row["error"], "test/loss": row["loss"]}
    body = {"test_digest": test_digest, "measures": shown, "interval": row["interval"]}
    try:
        known = read_json(path)
    except (FileNotFoundError, DamagedError):
        known = {}
    if {name: known.get(name) for name in body} != body:
        write_json(path, body | {"evaluated": time.time()})


def _draw(
    plots: Path,
    variants: dict[str, Any],
    logits: NDArray[np.float32],
    labels: NDArray[np.uint8],
    images: NDArray[np.uint8],
    chosen: str,
) -> None:
    from lenet.evaluation import plots as draw

    plots.mkdir(parents=True, exist_ok=True)
    rows = [
        VariantErrors(name, [run["misread"] for run in found["runs"]], len(labels)) for name, found in variants.items()
    ]
    compare_errors(rows, plots / "test_errors.png")
    classes = logits.shape[1]
    draw.confusion_matrix(measures.confusion(logits, labels, classes), plots / "confusion_matrix.png", chosen)
    draw.misread_digits(images, labels, logits, plots / "misread_digits.png", chosen, np.arange(len(labels)))
