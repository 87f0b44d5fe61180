"""The register stage: the chosen model goes into the MLflow registry, once, and challenges the champion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lenet.config.params import Params, read_params
from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import read_json, write_json, write_text
from lenet.core.errors import LenetError
from lenet.core.paths import BUILT_TRAIN, EVALUATION, MODEL_CARD, REGISTRATION
from lenet.core.project import Project
from lenet.execution.runner import Runner
from lenet.gate.promote import PromotionResult, ensure_champion
from lenet.registry.history import VersionRef, last_champion, read_history
from lenet.registry.history_tags import shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.transaction import settle_left
from lenet.registry.versions import CHAMPION
from lenet.report.model_card import as_description, model_card
from lenet.runs.get_or_train import RunMetadata
from lenet.runs.run_dir import FINISHED, RunDir
from lenet.tracking.destination import requested_destination
from lenet.tracking.entities import MODEL_CARD as OWN_CARD
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store import holds_version, store_errors


def register_choice(project: Project, params: Params, tell: Callable[[str], None]) -> PromotionResult | None:
    """Register the model that the evaluation names, as the challenger, with its model card.

    Writes results/model_card.md and results/registration.json; an experiment of DVC's writes nothing else.

    The run is asked for: where its folder was lost it is trained again, to the same weights, before it is registered.
    Where there is no champion the gate decides at once whether it becomes the first; a refusal is told, no error.

    Returns:
        What the gate answered where there was no champion, otherwise None.

    Raises:
        LenetError: MLflow cannot be reached, or the evaluation is about another run than the one asked for.
    """
    evaluation = read_json(project.root / EVALUATION)
    choice = evaluation["choice"]
    config = _trained_config(project, choice["variant"], choice["seed"])
    with Runner(project, tell) as laboratory:
        outcome = laboratory.get_or_train(config, RunMetadata(f"{config.name} seed={config.seed}", "pipeline"))
    place = laboratory.place(outcome.folder, config)
    if place is None:
        raise LenetError("MLflow does not show the chosen run yet; start its server and run `dvc repro` again")
    card = model_card(project, params, outcome.folder)
    write_text(project.root / MODEL_CARD, card)
    if project.is_experiment:
        tell(f"{params.register.model}: an experiment of DVC's leaves the registry as it is")
        _write_registration(project, outcome.folder, params.register.model, config.tracking.uri)
        return None
    settle_left(project, params.register.model, tell, place.uri)
    champion = lost_champion(project, params.register.model, place.uri)
    if champion is not None:
        _register_lost(project, params.register.model, place.uri, champion, tell)
    write_text(outcome.folder.path / OWN_CARD, card)  # from where it goes with the run, and comes back with it
    version = _register(project, place, outcome.folder, params.register.model, evaluation, tell)
    _write_registration(project, outcome.folder, params.register.model, config.tracking.uri)
    answer = ensure_champion(project, params, version, place.uri, tell)
    for line in answer.lines if answer else ():
        tell(line)
    return answer


def _write_registration(project: Project, folder: RunDir, model: str, uri: str | None) -> None:
    """Write what is registered; not the version's number, which is another in another store."""
    body = {
        "model": model,
        "run": folder.fingerprint,
        "weights_sha256": folder.status()["files"]["weights.safetensors"],
        "tracking_uri": uri,  # a fresh clone has no run's folder to find its registry by
    }
    write_json(project.root / REGISTRATION, body)


def lost_champion(project: Project, model: str, uri: str) -> VersionRef | None:
    """Return who was champion where the registry has none though the history knows of one.

    A home that has changed no champion there asks no server: it may deny the sight of a model that is not there.
    """
    with RegisteredModel(project, model, uri) as shelf:
        is_known = any((entry.model, entry.store) == (model, shelf.store) for entry in read_history(project))
        if not is_known or shelf.holder(CHAMPION) is not None:
            return None
        return last_champion(shared_history(shelf), model, shelf.store)


def _register_lost(project: Project, model: str, uri: str, champion: VersionRef, tell: Callable[[str], None]) -> None:
    """Register the run of a champion that the registry lost, where its folder is still there."""
    folder = RunDir(project.runs / champion.fingerprint)
    if folder.state() != FINISHED or folder.status()["files"]["weights.safetensors"] != champion.weights_sha256:
        tell(f"{model}: its champion {folder.short} is lost, and its run's folder too; the gate begins anew")
        return
    place = _send(project, uri, folder)
    _register(project, place, folder, model, None, tell)


def _trained_config(project: Project, variant: str, seed: int) -> Config:
    path = project.root / BUILT_TRAIN / variant / "runs.json"
    for run in read_json(path)["runs"]:
        if run["seed"] == seed:
            return parse_config(run["config"])
    raise LenetError(f"{path}: has no run with seed {seed}; `dvc repro evaluate` chooses anew")


def repair_registry(project: Project, tell: Callable[[str], None]) -> None:
    """Register the chosen model again where the registry lost it; a stage restored from DVC's cache runs nothing.

    Raises:
        LenetError: MLflow cannot be reached.
    """
    path = project.root / REGISTRATION
    if project.is_experiment or not path.is_file():
        return
    known = read_json(path)
    folder = RunDir(project.runs / known["run"])
    if folder.state() != FINISHED:
        return
    settle_left(project, known["model"], tell)
    uri, _ = requested_destination(project, folder.identity())
    is_lost = holds_version(uri, known["model"], known["weights_sha256"]) is False
    if is_lost or lost_champion(project, known["model"], uri) is not None:
        register_choice(project, read_params(project), tell)


def _register(
    project: Project,
    place: MlflowRunRef,
    folder: RunDir,
    model: str,
    evaluation: dict[str, Any] | None,
    tell: Callable[[str], None],
) -> str:
    """Register a finished run; return its version's number."""
    from lenet.registry.mlflow_registry import register
    from lenet.registry.pack_run import log_export, pack_version

    def fill(packed: Path) -> None:
        pack_version(project, folder, packed)

    _send(project, place.uri, folder)
    card = folder.path / OWN_CARD
    description = as_description(card.read_text(encoding="utf-8")) if card.is_file() else None
    with store_errors(place.uri, "ask again"):
        version = register(project, place, folder, fill, model, _tags(folder, evaluation), description)
        log_export(project, place, folder)
    made = "registered" if version.is_new else "registered already"
    tell(f"{version.model} version {version.number} ({', '.join(version.aliases)}): {made}")
    return version.number


def _send(project: Project, uri: str, folder: RunDir) -> MlflowRunRef:
    with store_errors(uri, "ask again"):
        return RunSync(project, uri, requested_destination(project, folder.identity())[1]).send(folder)


def _tags(folder: RunDir, evaluation: dict[str, Any] | None) -> dict[str, str]:
    """Return what leads back from a version to run, commit and data; without `evaluation` no test error."""
    identity, config = folder.identity(), folder.config()
    git = folder.status()["attempts"][-1]["git"]
    tags = {
        "lenet.fingerprint": folder.fingerprint,
        "lenet.variant": config.name,
        "lenet.seed": str(config.seed),
        "lenet.git_commit": git["commit"] or "",
        "lenet.git_dirty": str(git["dirty"]).lower(),
        "lenet.data": config.data.name,
        "lenet.data_digest": identity["data_digest"],
    }
    if evaluation is not None:
        choice = evaluation["choice"]
        tags["lenet.variant"] = choice["variant"]  # the run may have been asked for by another name first
        own = next(run for run in evaluation["variants"][choice["variant"]]["runs"] if run["seed"] == choice["seed"])
        tags |= {"lenet.test_digest": evaluation["test_digest"], "lenet.test_error": f"{own['error']:.2f}"}
    return tags
