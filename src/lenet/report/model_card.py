"""The model card of a registered network: what it is for, what it can and cannot do, and how it was chosen.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, doi 10.1145/3287560.3287596. The same measurements
give the same text; the gate's decision comes later and is in the version's tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from inspect import getdoc
from pathlib import Path
from typing import Any

from lenet.config.params import Params
from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import read_json
from lenet.core.errors import LenetError
from lenet.core.paths import EVALUATION, EXPORT, QUALITY, REFIT, REFITTED, SEARCH
from lenet.core.project import Project
from lenet.data.arrays import read_card
from lenet.evaluation.data_notes import notes_on
from lenet.evaluation.trained_model import read_variant
from lenet.report.facts import comparison_facts, distortion_rows, error_at, validation_errors
from lenet.report.render import render
from lenet.runs.run_dir import RunDir
from lenet.tracking.entities import MODEL_CARD

Tree = Mapping[str, Any]

DESCRIPTION_CHARACTERS = 5000
"""What MLflow's databases take for a version's description (`model_versions.description`, 3.17)."""

REST = f"The whole card is {MODEL_CARD} among the artifacts of the run that this version comes from."


def model_card(project: Project, params: Params, run: RunDir) -> str:
    """Return the card of the chosen run as GitHub Markdown.

    Raises:
        LenetError: the evaluation did not choose this run.
        DamagedError: what a stage left is missing or damaged.
    """
    return render("model_card.md.j2", read_card_facts(project, params, run))


def as_description(card: str, limit: int = DESCRIPTION_CHARACTERS) -> str:
    """Return a card as MLflow's description of a version: where it is too long, the sections that fit, whole."""
    if len(card) <= limit:
        return card
    kept, *sections = card.split("\n## ")
    room = limit - len(REST) - 2
    for section in sections:
        if len(kept) + len(section) + 4 <= room:
            kept += f"\n## {section}"
    return f"{kept[:room].rstrip()}\n\n{REST}"


def read_card_facts(project: Project, params: Params, run: RunDir) -> dict[str, Any]:
    """Read what the stages left; arguments, result and errors as `model_card` and `card_facts`."""
    identity, evaluation = run.identity(), read_json(project.root / EVALUATION)
    choice = evaluation["choice"]
    rows = {row["seed"]: row["fingerprint"] for row in evaluation["variants"][choice["variant"]]["runs"]}
    if rows.get(choice["seed"]) != run.fingerprint:
        raise LenetError(f"{EVALUATION}: is not about run {run.short}; `dvc repro evaluate` measures again")
    config = parse_config(identity["config"])
    search, refit = _optional(project.root / SEARCH / "summary.json"), _optional(project.root / REFIT)
    is_searched = search and refit and REFITTED in evaluation["variants"]
    quality = _optional(project.root / QUALITY) or {"pairs": [], "networks": {}}
    trained = {variant: read_variant(project, variant) for variant in evaluation["variants"]}
    return {
        "model": params.register.model,
        "gate": params.gate,
        "search": search if is_searched else None,
        "refit": refit if is_searched else None,
        "export": _export_of(run.fingerprint, _optional(project.root / EXPORT)),
        **comparison_facts(evaluation, quality, validation_errors(trained)),
        **card_facts(
            config, identity, run.status(), evaluation, quality, read_card(project.prepared(config.data.name))
        ),
    }


def _optional(path: Path) -> dict[str, Any] | None:
    """Return what an optional stage left; None where it did not run."""
    return read_json(path) if path.is_file() else None


def _export_of(fingerprint: str, export: dict[str, Any] | None) -> dict[str, Any] | None:
    return export if export and export["metadata"]["lenet.fingerprint"] == fingerprint else None


def card_facts(
    config: Config, identity: Tree, status: Tree, evaluation: Tree, quality: Tree, data: Tree
) -> dict[str, Any]:
    """Return what model_card.md.j2 says of the network itself, by the names it has there.

    Args:
        config: of the run.
        identity: run.json of the run.
        status: status.json of the run.
        evaluation: results/evaluation.json; its choice is this run.
        quality: results/quality.json; networks that were not measured are missing in it.
        data: card.json of the prepared data set.
    """
    variant = evaluation["choice"]["variant"]  # the run may have been trained under another variant's name first
    found = evaluation["variants"][variant]
    fingerprints = [row["fingerprint"] for row in found["runs"]]
    recipe = [one for one in quality["networks"].get(variant, ()) if one["fingerprint"] in fingerprints]
    own: Any = next((one for one in recipe if one["fingerprint"] == identity["fingerprint"]), None)
    distortions = distortion_rows({variant: recipe}) if own else []
    counts, size = data["counts"], config.data
    return {
        "variant": variant,
        "config": config,
        "run": identity,
        "found": found,
        "own": next(row for row in found["runs"] if row["fingerprint"] == identity["fingerprint"]),
        "quality": own,
        "distortions": [row | {"own": error_at(own, row["kind"], row["level"])} for row in distortions],
        "data": data,
        "notes": notes_on(data),
        "class_count": len(config.data.classes),
        "class_names": list(config.data.classes),
        "network": (getdoc(type(config.model)) or "").partition("\n")[0],
        # The data card's own split is that of conf/data; the run may have another one of the same files.
        "train_images": size.train_size
        or counts["train"]["images"] + counts["validation"]["images"] - size.validation_size,
        "recipe": _recipe(config),
        "provenance": _provenance(identity, status, evaluation),
    }


def _recipe(config: Config) -> list[tuple[str, str]]:
    """Return how the network was trained, a row for each knob or group of knobs."""
    optimizer = asdict(config.optimizer)
    schedule = optimizer.pop("schedule")
    trainer = config.trainer
    optional = {
        "mini-batches a step": trainer.accumulate if trainer.accumulate > 1 else None,
        "largest gradient norm": trainer.gradient_clip,
        "epochs without improvement until it stops": trainer.early_stopping.patience,
    }
    model = {name.replace("_", " "): str(value) for name, value in asdict(config.model).items() if name != "name"}
    return [
        *model.items(),
        ("augmentation", _listed(asdict(config.augmentation))),
        ("optimizer", _listed(optimizer)),
        ("schedule", _listed(schedule)),
        ("epochs", str(trainer.epochs)),
        ("batch", f"{trainer.batch_size} images"),
        *((name, f"{value:g}") for name, value in optional.items() if value is not None),
        ("precision", trainer.precision),
    ]


def _listed(knobs: Tree) -> str:
    """Return a group of knobs on a line, its name first: `adam, learning rate 0.004, beta1 0.9`."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in knobs.items()}
    return ", ".join([shown.pop("name"), *(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())])


def _provenance(identity: Tree, status: Tree, evaluation: Tree) -> list[tuple[str, str]]:
    """Return what leads back from the card to the run's bytes and code, wherever it was trained."""
    return [
        ("run", identity["fingerprint"]),
        ("weights sha256", status["files"]["weights.safetensors"]),
        ("training data digest", identity["data_digest"]),
        ("test data digest", evaluation["test_digest"]),
        ("training code digest", identity["code_digest"]),
    ]
