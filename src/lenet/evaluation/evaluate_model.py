"""All that is measured of one network on the test set beside its error; one process a network where there are many.

The test set is read here for each network after every choice of a recipe was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.core.atomic_io import atomic_write
from lenet.core.processes import process_pool
from lenet.data.arrays import load_test
from lenet.evaluation import metrics as measures
from lenet.evaluation.trained_model import TrainedModel
from lenet.training.cpu_tuning import configure_openmp

DECIMALS = 4
PRELOADED = ("lenet.training.fit",)


Measured = tuple[dict[str, Any], dict[str, Any]]
"""A network's row of results/evaluation.json, and its row of results/quality.json."""


def evaluate_model(model: TrainedModel, predictions: Path, prepared: Path, confidence: float) -> Measured:
    """Evaluate one network on the test set and write its logits.

    Args:
        model: the network.
        predictions: where its logits go, float32 [n, classes].
        prepared: the prepared data set.
        confidence: of every interval.

    Raises:
        DamagedError: the weights or the test set are not those on record.
    """
    import torch

    from lenet.evaluation.calibration import expected_calibration_error, reliability
    from lenet.evaluation.latency import count_parameters, count_weight_bytes
    from lenet.evaluation.metrics import class_recalls
    from lenet.evaluation.predict import predict
    from lenet.evaluation.robustness import robustness
    from lenet.evaluation.stats.bootstrap import calibration_interval, negative_log_likelihood_interval

    images, labels = load_test(prepared)
    network = model.load()
    logits = predict(network, images)
    with atomic_write(predictions) as path, path.open("wb") as stream:
        np.save(stream, logits)
    row = {"seed": model.seed, "fingerprint": model.fingerprint} | _row(logits, labels, confidence)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small batches: threads would wait for each other
    try:
        curves = robustness(network, images, labels)
    finally:
        torch.set_num_threads(threads)
    quality = {
        "seed": model.seed,
        "fingerprint": model.fingerprint,
        "loss_interval": _rounded(negative_log_likelihood_interval(logits, labels, confidence)),
        "calibration_error": round(expected_calibration_error(logits, labels), DECIMALS),
        "calibration_interval": _rounded(calibration_interval(logits, labels, confidence)),
        "reliability": [asdict(one) for one in reliability(logits, labels, confidence)],
        "recalls": [asdict(one) for one in class_recalls(_confusion(logits, labels), confidence)],
        "robustness": [asdict(curve) for curve in curves],
        "parameters": count_parameters(network),
        "weight_bytes": count_weight_bytes(network),
    }
    return row, quality


def evaluate_models(
    models: Sequence[tuple[TrainedModel, Path]], prepared: Path, confidence: float, workers: int
) -> list[Measured]:
    """Evaluate networks, each with the file for its logits, in so many processes; raises as `evaluate_model`."""
    if workers == 1 or len(models) == 1:
        return [evaluate_model(model, predictions, prepared, confidence) for model, predictions in models]
    with process_pool(min(workers, len(models)), configure_openmp, PRELOADED) as pool:
        waiting = [pool.submit(evaluate_model, model, path, prepared, confidence) for model, path in models]
        return [one.result() for one in waiting]


def _row(logits: NDArray[np.float32], labels: NDArray[np.uint8], confidence: float) -> dict[str, Any]:
    wrong = int(measures.misclassified(logits, labels).sum())
    return {
        "misclassified": wrong,
        "error": measures.error_percent(logits, labels),
        "interval": _rounded(measures.exact_interval(wrong, len(labels), confidence)),
        "loss": round(measures.negative_log_likelihood(logits, labels), 6),
    }


def _confusion(logits: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    return measures.confusion(logits, labels, logits.shape[1])


def _rounded(interval: tuple[float, float]) -> list[float]:
    return [round(interval[0], DECIMALS), round(interval[1], DECIMALS)]
