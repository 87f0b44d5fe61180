"""What the stages of dvc.yaml do: each asks for what it needs and leaves its outs whole or not at all."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

from lenet.config.params import Params, read_variant
from lenet.config.validation import closest
from lenet.core.atomic_io import remove, write_json, write_text
from lenet.core.errors import ConfigError
from lenet.core.paths import (
    CURVES,
    EVALUATION,
    PLOTS,
    QUALITY,
    TEST_METRICS,
    VALIDATION_CURVES,
)
from lenet.core.processes import default_workers
from lenet.core.project import Project
from lenet.core.rounding import rounded
from lenet.data.datasets import fetch_dataset, load_data_config
from lenet.data.prepare import prepare
from lenet.evaluation.metrics import Spread
from lenet.execution.local import RunRequest, run_all
from lenet.pipeline.dvc_metrics import over_seeds, write_metrics
from lenet.pipeline.outs import PIPELINE, write_variant
from lenet.runs.get_or_train import RunMetadata
from lenet.tracking.sync import synchronize

logger = logging.getLogger(__name__)

CURVE = ("seed", "epoch", "val_error")
"""Columns of a training stage's curves that all variants are shown by."""


def train_variant(project: Project, params: Params, variant: str) -> None:
    """Ask for one run a seed, in processes of one thread each, and put weights, measures and curves into the outs.

    One thread, as in search and refit: torch's own kernels sum in another order with two, which is another network.

    Raises:
        ConfigError: params.yaml lists no such variant; nothing is touched.
    """
    if variant not in params.variants:
        raise ConfigError(
            f"{variant}: params.yaml lists no such variant; it lists {', '.join(params.variants)}"
            f"{closest(variant, list(params.variants))}"
        )
    requests = [
        RunRequest(read_variant(project, variant, seed), RunMetadata(f"{variant} seed={seed}", PIPELINE))
        for seed in params.seeds
    ]
    results = run_all(project, requests, 0)
    for request, result in zip(requests, results, strict=True):
        headline = result.run_dir.headline()
        shown = f"validation error {headline['val/error']:.2f} %" if "val/error" in headline else "no validation"
        logger.info(f"{result.run_dir.short}  {request.metadata.name}: {shown}")
    write_variant(
        project, variant, [(request.config, result.run_dir) for request, result in zip(requests, results, strict=True)]
    )


def evaluate_variants(project: Project, params: Params) -> None:
    """Choose a variant on validation, read the test set, and have MLflow show what it said."""
    from lenet.evaluation.plots.variants import compare_curves
    from lenet.evaluation.trained_model import read_variant
    from lenet.pipeline.evaluate import evaluate

    trained = {variant: read_variant(project, variant) for variant in params.evaluated_variants}
    body, qualities = evaluate(
        project,
        params.data,
        trained,
        params.evaluate.confidence,
        params.refit.baseline,
        default_workers(),
    )
    sources = {variant: project.root / CURVES / f"{variant}.csv" for variant in params.evaluated_variants}
    curves = {variant: _histories(path) for variant, path in sources.items()}
    compare_curves(curves, project.root / PLOTS / "validation_curves.png", "Validation error by epoch")
    write_json(project.root / EVALUATION, rounded(body))
    write_json(project.root / QUALITY, rounded(qualities))
    write_text(project.root / VALIDATION_CURVES, _joined(sources))
    remove(project.root / TEST_METRICS, project.root)
    for variant, found in body["variants"].items():
        error = over_seeds(Spread(**found["test_error"]))
        write_metrics(project.root / TEST_METRICS / f"{variant}.json", {"test_error": error})
    for variant, found in body["variants"].items():
        logger.info(
            f"{variant}: test error {found['test_error']['mean']:.2f} % (mean of {found['test_error']['n']} seeds)"
        )
    logger.info(f"chosen on validation: {body['choice']['variant']}, seed {body['choice']['seed']}")
    synchronize(project)


def _joined(sources: dict[str, Path]) -> str:
    """Return the validation curves of all variants as one CSV in long form, for one plot of them all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ("variant", *CURVE), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for variant, path in sources.items():
        with path.open(encoding="utf-8", newline="") as stream:
            writer.writerows({"variant": variant} | row for row in csv.DictReader(stream))
    return text.getvalue()


def _histories(path: Path) -> list[list[dict[str, float]]]:
    """Return each seed's history from a stage's CSV."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = [name.replace("_", "/", 1) if name.startswith(("train_", "val_")) else name for name in lines[0].split(",")]
    by_seed: dict[float, list[dict[str, float]]] = {}
    for line in lines[1:]:
        row = dict(zip(names, map(float, line.split(",")), strict=True))
        by_seed.setdefault(row.pop("seed"), []).append(row)
    return list(by_seed.values())


def fetch_set(project: Project, name: str, folder: Path | None) -> None:
    """Bring a data set's files to data/raw/<name>, from `folder` first where one is named."""
    fetch_dataset(project, load_data_config(project.conf, name), folder)


def prepare_set(project: Project, name: str) -> None:
    """Write data/prepared/<name> from data/raw/<name>."""
    card = prepare(load_data_config(project.conf, name), project.raw(name), project.prepared(name))
    counts = ", ".join(f"{found['images']:,} {part}" for part, found in card["counts"].items())
    logger.info(f"{name}: prepared {counts}")
