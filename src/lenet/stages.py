"""What the stages of dvc.yaml do: each asks for what it needs and leaves its outs whole or not at all."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet.asking import Origin
from lenet.config import Config
from lenet.data.prepare import prepare
from lenet.data.sets import load_data_config
from lenet.data.sources import fetch
from lenet.durable import sha256_file, write_bytes, write_json, write_text
from lenet.errors import ConfigError
from lenet.evaluation.measures import spread
from lenet.laboratory import Laboratory
from lenet.parallel import default_workers
from lenet.pipeline import (
    BUILT_PREDICTIONS,
    BUILT_TRAIN,
    CURVES,
    EVALUATION,
    PLOTS,
    QUALITY,
    TRAIN_METRICS,
    Params,
    read_variant,
)
from lenet.project import Project
from lenet.runs import RunFolder
from lenet.synchronize import synchronize

PIPELINE = "pipeline"
"""What the tag lenet.sweep says of the pipeline's runs."""

WALL_CLOCK = ("seconds", "images_per_second")
"""Columns of a history that differ from one training to the next; the stages' outs leave them out."""


def train_variant(project: Project, params: Params, variant: str, tell: Callable[[str], None]) -> None:
    """Ask for one run a seed, in this process, and put weights, measures and curves into the stage's outs."""
    runs: list[tuple[Config, RunFolder]] = []
    with Laboratory(project, tell) as laboratory:
        for seed in params.seeds:
            config = read_variant(project, variant, seed)
            outcome = laboratory.ask(config, Origin(f"{variant} seed={seed}", PIPELINE))
            headline = outcome.folder.headline()
            shown = f"validation error {headline['val/error']:.2f} %" if "val/error" in headline else "no validation"
            tell(f"{outcome.folder.short}  {variant} seed={seed}: {outcome.answer}, {shown}")
            runs.append((config, outcome.folder))
    write_variant(project, variant, runs)


def write_variant(project: Project, variant: str, runs: list[tuple[Config, RunFolder]]) -> None:
    """Write what the pipeline keeps of a variant's runs: weights, measures and curves."""
    _write_weights(project.root / BUILT_TRAIN / variant, variant, runs)
    write_text(project.root / CURVES / f"{variant}.csv", _curves(runs))
    write_json(project.root / TRAIN_METRICS / f"{variant}.json", _measures(runs))


def _write_weights(out: Path, variant: str, runs: list[tuple[Config, RunFolder]]) -> None:
    shutil.rmtree(out, ignore_errors=True)
    entries = []
    for config, folder in runs:
        path = out / f"seed-{config.seed}" / "weights.safetensors"
        write_bytes(path, (folder.path / "weights.safetensors").read_bytes())
        entry: dict[str, Any] = {
            "seed": config.seed,
            "fingerprint": folder.fingerprint,
            "weights_sha256": sha256_file(path),
            "epochs": len(folder.history()),
            "measures": folder.headline(),
            "config": config.tree(),
        }
        entries.append(entry)
    write_json(out / "runs.json", {"variant": variant, "runs": entries})


def _curves(runs: list[tuple[Config, RunFolder]]) -> str:
    """Return the histories as CSV: slashes become underscores, for DVC's plots know them as paths."""
    rows = [{"seed": config.seed} | row for config, folder in runs for row in folder.history()]
    names = [name for name in rows[0] if name not in WALL_CLOCK]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name.replace("/", "_") for name in names])
    for row in rows:
        writer.writerow([f"{row[name]:.6g}" for name in names])
    return text.getvalue()


def _measures(runs: list[tuple[Config, RunFolder]]) -> dict[str, Any]:
    """Return mean, deviation and n of each measure over the seeds; errors in percent."""
    headlines = [folder.headline() for _, folder in runs]
    measures: dict[str, Any] = {"seeds": len(runs)}
    for name in headlines[0]:
        over_seeds = spread([headline[name] for headline in headlines])
        measures[name.replace("/", "_")] = {
            "mean": round(over_seeds.mean, 6),
            "deviation": None if over_seeds.deviation is None else round(over_seeds.deviation, 6),
        }
    return measures


def evaluate_variants(project: Project, params: Params, tell: Callable[[str], None]) -> None:
    """Choose a variant on validation, read the test set once, and have MLflow show what it said."""
    from lenet.evaluation.comparisons import compare_curves
    from lenet.evaluation.stage import evaluate, read_trained

    trained = read_trained(project.root / BUILT_TRAIN, params.contestants)
    body, qualities = evaluate(
        project,
        params.data,
        trained,
        project.root / BUILT_TRAIN,
        project.root / BUILT_PREDICTIONS,
        project.root / PLOTS,
        params.evaluate.confidence,
        default_workers(),
    )
    curves = {variant: _histories(project.root / CURVES / f"{variant}.csv") for variant in params.contestants}
    compare_curves(curves, project.root / PLOTS / "validation_curves.png", "Validation error by epoch")
    write_json(project.root / EVALUATION, body)
    write_json(project.root / QUALITY, qualities)
    for variant, found in body["variants"].items():
        tell(f"{variant}: test error {found['test_error']['mean']:.2f} % (mean of {found['test_error']['n']} seeds)")
    tell(f"chosen on validation: {body['choice']['variant']}, seed {body['choice']['seed']}")
    synchronize(project, tell)


def _histories(path: Path) -> list[list[dict[str, float]]]:
    """Return each seed's history from a stage's CSV."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = [name.replace("_", "/", 1) if name.startswith(("train_", "val_")) else name for name in lines[0].split(",")]
    by_seed: dict[float, list[dict[str, float]]] = {}
    for line in lines[1:]:
        row = dict(zip(names, map(float, line.split(",")), strict=True))
        by_seed.setdefault(row.pop("seed"), []).append(row)
    return list(by_seed.values())


def fetch_set(project: Project, name: str, folder: Path | None, tell: Callable[[str], None]) -> None:
    """Bring a data set's files to data/raw/<name>, from `folder` first where one is named."""
    origin = load_data_config(project.conf, name).origin
    if origin is None:
        raise ConfigError(f"conf/data/{name}.yaml: data.origin is missing: nothing says where to fetch {name}")
    fetch(origin, project.raw(name), name=name, extra_folder=folder, say=tell)


def prepare_set(project: Project, name: str, tell: Callable[[str], None]) -> None:
    """Write data/prepared/<name> from data/raw/<name>."""
    card = prepare(load_data_config(project.conf, name), project.raw(name), project.prepared(name))
    counts = ", ".join(f"{found['images']:,} {part}" for part, found in card["counts"].items())
    tell(f"{name}: prepared {counts}")
