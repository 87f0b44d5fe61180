"""The tiny project after training, search and evaluation: two contestants with two seeds, small in every respect."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from lenet.config.params import Params, read_params
from lenet.config.schema import Config
from lenet.core.atomic_io import write_json
from lenet.core.paths import EVALUATION, PLOTS, QUALITY, REFIT, REFITTED, SEARCH
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.evaluation.metrics import spread
from lenet.evaluation.plots.variants import compare_curves
from lenet.evaluation.stats.welch import welch_test
from lenet.evaluation.trained_model import read_variant
from lenet.pipeline.evaluate import evaluate
from lenet.pipeline.stages import write_variant
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir

BASE = "lenet5"
GATE = {"margin_points": 25, "confidence": 0.95, "floor_error_percent": 99, "alpha": 0.05, "reference": None}
SEEDS = (1, 2)

LEFT = ("runs", "build", "results")

Runs = list[tuple[Config, RunDir]]

_kept = TemporaryDirectory(prefix="lenet-evaluated-")
_made: dict[Config, tuple[Path, dict[str, Runs]]] = {}
"""By config: a copy of what its evaluation left, and each contestant's runs; training and drawing take seconds."""


def evaluated(project: Project, make_config: Callable[..., Config]) -> dict[str, Runs]:
    """Train, evaluate, and leave what the stages before export leave; returns each contestant's runs."""
    config = make_config()
    if config not in _made:
        runs, kept = _evaluate(project, make_config), Path(_kept.name) / str(len(_made))
        for name in LEFT:
            shutil.copytree(project.root / name, kept / name)
        _made[config] = kept, runs
        return runs
    kept, runs = _made[config]
    set_params(project)
    for name in LEFT:
        shutil.copytree(kept / name, project.root / name, dirs_exist_ok=True)
    return {
        variant: [(config, RunDir(project.runs / folder.fingerprint)) for config, folder in found]
        for variant, found in runs.items()
    }


def _evaluate(project: Project, make_config: Callable[..., Config]) -> dict[str, Runs]:
    set_params(project)
    trained = {
        BASE: _train(project, make_config, name=BASE, trainer__epochs=2),
        REFITTED: _train(project, make_config, name=REFITTED, trainer__epochs=1),
    }
    for variant, runs in trained.items():
        write_variant(project, variant, runs)
    body, quality = evaluate(
        project,
        "tiny",
        {variant: read_variant(project, variant) for variant in (BASE, REFITTED)},
        0.95,
        BASE,
    )
    histories = {variant: [folder.history() for _, folder in runs] for variant, runs in trained.items()}
    compare_curves(histories, project.root / PLOTS / "validation_curves.png", "")
    write_json(project.root / EVALUATION, body)
    write_json(project.root / QUALITY, quality)
    _write_search(project, trained)
    return trained


def set_params(project: Project, **gate: Any) -> Params:
    """Make the project's params those of the tiny set; `gate` changes thresholds."""
    path = project.root / "params.yaml"
    tree = yaml.safe_load(path.read_text()) | {"data": "tiny", "variants": [BASE], "seeds": list(SEEDS)}
    tree["refit"] = {"candidates": 1, "seeds": [11], "confirm": list(SEEDS), "baseline": BASE}
    tree["gate"] = GATE | gate
    path.write_text(yaml.safe_dump(tree))
    return read_params(project)


def choose(project: Project, variant: str, seed: int) -> None:
    """Have the evaluation choose another network."""
    from lenet.core.atomic_io import read_json

    body = read_json(project.root / EVALUATION)
    body["choice"] |= {"variant": variant, "seed": seed}
    write_json(project.root / EVALUATION, {name: value for name, value in body.items() if name != "sha256"})


def _train(project: Project, make_config: Callable[..., Config], **knobs: Any) -> Runs:
    digest = training_digest(project.prepared("tiny"))
    configs: Sequence[Config] = [make_config(seed=seed, **knobs) for seed in SEEDS]
    return [(config, get_or_train(project, config, digest, RunMetadata("tiny")).run_dir) for config in configs]


def _write_search(project: Project, trained: dict[str, Runs]) -> None:
    """Leave what a search of two trials and its refit would."""
    errors = {name: [folder.headline()["val/error"] for _, folder in runs] for name, runs in trained.items()}
    runs = {name: {str(config.seed): folder.fingerprint for config, folder in found} for name, found in trained.items()}
    best = {"trial": 1, "run": runs[REFITTED]["1"], "val_error": errors[REFITTED][0]}
    summary = {"sampler": "tpe", "pruner": "asha", "epochs": 3, "epochs_unpruned": 4, "best": best}
    write_json(project.root / SEARCH / "summary.json", summary | {"trials": {"all": 2, "pruned": 1, "complete": 1}})
    candidate = {"trial": 1, "search_error": errors[REFITTED][0], "validation_error": asdict(spread(errors[REFITTED]))}
    curse = {"trial": 1, "epochs": 1, "search_error": errors[REFITTED][0], "optimism": 0.0}
    body = {
        "epochs": 1,
        "chosen": 1,
        "candidates": [candidate | {"runs": runs[REFITTED], "failed": []}],
        "confirmed": {"validation_error": asdict(spread(errors[REFITTED])), "runs": runs[REFITTED]},
        "baseline": {"variant": BASE, "validation_error": asdict(spread(errors[BASE])), "runs": runs[BASE]},
        "comparison": asdict(welch_test(errors[REFITTED], [error + 1e-3 * i for i, error in enumerate(errors[BASE])])),
        "winners_curse": curse | {"fresh_seeds": asdict(spread(errors[REFITTED][1:])), "runs": {}},
    }
    write_json(project.root / REFIT, body)
