"""The register stage: the chosen model goes into the MLflow registry, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lenet.asking import Origin
from lenet.config import Config, parse_config
from lenet.durable import read_json, write_json
from lenet.errors import LenetError
from lenet.laboratory import Laboratory
from lenet.pipeline import BUILT_TRAIN, EVALUATION, REGISTRATION, Params, read_params
from lenet.project import Project
from lenet.runs import FINISHED, RunFolder
from lenet.tracking.projection import Place


def register_choice(project: Project, params: Params, tell: Callable[[str], None]) -> None:
    """Register the model that the evaluation names, and write results/registration.json.

    The run is asked for: where its folder was lost it is trained again, to the same weights, before it is registered.

    Raises:
        LenetError: MLflow cannot be reached.
    """
    evaluation = read_json(project.root / EVALUATION)
    choice = evaluation["choice"]
    config = _trained_config(project, choice["variant"], choice["seed"])
    with Laboratory(project, tell) as laboratory:
        outcome = laboratory.ask(config, Origin(f"{config.name} seed={config.seed}", "pipeline"))
    place = laboratory.place(outcome.folder, config)
    if place is None:
        raise LenetError("MLflow does not show the chosen run yet; start its server and run `dvc repro` again")
    body = _register(project, place, config, outcome.folder, params.register.model, evaluation, tell)
    write_json(project.root / REGISTRATION, body)


def _trained_config(project: Project, variant: str, seed: int) -> Config:
    path = project.root / BUILT_TRAIN / variant / "runs.json"
    for run in read_json(path)["runs"]:
        if run["seed"] == seed:
            return parse_config(run["config"])
    raise LenetError(f"{path}: has no run with seed {seed}; `dvc repro evaluate` chooses anew")


def heal_registry(project: Project, tell: Callable[[str], None]) -> None:
    """Register the chosen model again where the registry lost it; a stage restored from DVC's cache runs nothing.

    Raises:
        LenetError: MLflow cannot be reached.
    """
    path = project.root / REGISTRATION
    if not path.is_file():
        return
    from lenet.tracking.store import holds_version, tracking_uri

    known = read_json(path)
    folder = RunFolder(project.runs / known["run"])
    if folder.state() != FINISHED:
        return
    config = folder.config()
    if holds_version(tracking_uri(project, config.tracking.uri), known["model"], known["weights_sha256"]) is False:
        register_choice(project, read_params(project), tell)


def _register(
    project: Project,
    place: Place,
    config: Config,
    folder: RunFolder,
    model: str,
    evaluation: dict[str, Any],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    from lenet.evaluation.predict import load_reader
    from lenet.tracking.registry import register

    identity, status = folder.identity(), folder.status()
    git = status["attempts"][-1]["git"]
    measured = evaluation["variants"][evaluation["choice"]["variant"]]
    own = next(run for run in measured["runs"] if run["seed"] == config.seed)
    tags = {
        "lenet.fingerprint": folder.fingerprint,
        "lenet.variant": config.name,
        "lenet.seed": str(config.seed),
        "lenet.git_commit": git["commit"] or "",
        "lenet.git_dirty": str(git["dirty"]).lower(),
        "lenet.data": config.data.name,
        "lenet.data_digest": identity["data_digest"],
        "lenet.test_digest": evaluation["test_digest"],
        "lenet.test_error": f"{own['error']:.2f}",
    }
    weights = status["files"]["weights.safetensors"]
    reader = load_reader(config, folder.path / "weights.safetensors", weights)
    version = register(project, place, folder, reader, model, tags)
    made = "registered" if version.is_new else "registered already"
    tell(f"{version.model} version {version.number} ({', '.join(version.aliases)}): {made}")
    # The version's number is the store's own affair: this file says the same wherever the model is registered.
    return {"model": version.model, "run": folder.fingerprint, "weights_sha256": weights}
