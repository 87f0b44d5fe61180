"""The register stage: the chosen network becomes a version of the registered model, with its model card."""

from __future__ import annotations

import logging
from typing import Any

from lenet.config.params import Params, read_params
from lenet.core.atomic_io import read_json, write_json, write_text
from lenet.core.errors import LenetError
from lenet.core.paths import EVALUATION, MODEL_CARD, REGISTRATION
from lenet.core.project import Project
from lenet.evaluation.trained_model import WEIGHTS, read_chosen
from lenet.execution.runner import Runner
from lenet.gate.promote import PromotionResult, ensure_champion
from lenet.registry.changes import recover_if_needed
from lenet.registry.history import last_champion, read_history, shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import CHAMPION
from lenet.report.model_card import as_description, model_card
from lenet.runs.get_or_train import RunMetadata
from lenet.runs.run_dir import FINISHED, RunDir
from lenet.tracking.destination import requested_destination
from lenet.tracking.entities import MODEL_CARD as RUN_MODEL_CARD
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store_errors import database_path, store_errors

logger = logging.getLogger(__name__)


def register_chosen(project: Project, params: Params) -> PromotionResult | None:
    """Register the network that the evaluation chose, as the challenger, with its model card.

    Writes results/model_card.md and results/registration.json; in a DVC experiment nothing else. Where the run's
    directory is missing, the run is trained again. Where there is no champion, the gate decides at once whether the
    version becomes the first one; a refusal is logged and is no error.

    Returns:
        The gate's result where there was no champion, otherwise None.

    Raises:
        LenetError: MLflow cannot be reached, or the evaluation is about another run.
    """
    model, evaluation = params.register.model, read_json(project.root / EVALUATION)
    config = read_chosen(project).config
    with Runner(project) as runner:
        run_dir = runner.get_or_train(config, RunMetadata(f"{config.name} seed={config.seed}", "pipeline")).run_dir
    run_ref = runner.mlflow_run(run_dir, config)  # shown at the latest when the runner is closed
    if run_ref is None:
        raise LenetError("MLflow does not show the chosen run yet; start its server and run `dvc repro` again")
    card = model_card(project, params, run_dir)
    write_text(project.root / MODEL_CARD, card)
    registration = {
        "model": model,  # not the version's number, which is another in another store
        "run": run_dir.fingerprint,
        "weights_sha256": run_dir.status()["files"][WEIGHTS],
        "tracking_uri": config.tracking.uri,  # a fresh clone has no run directory to find its registry by
    }
    if project.is_experiment:
        logger.info(f"{model}: a DVC experiment does not change the registry")
        write_json(project.root / REGISTRATION, registration)
        return None
    recover_if_needed(project, model, run_ref.uri)
    with RegisteredModel(project, model, run_ref.uri) as registry:
        lost = _lost_champion(registry)
        if lost is not None and lost.fingerprint != run_dir.fingerprint:
            _register(registry, lost, None)
        write_text(run_dir.path / RUN_MODEL_CARD, card)  # is sent to MLflow with the run
        number = _register(registry, run_dir, evaluation)
    write_json(project.root / REGISTRATION, registration)
    result = ensure_champion(project, params, number, run_ref.uri)
    for line in result.lines if result else ():
        logger.info(line)
    return result


def repair_registry(project: Project) -> None:
    """Register the chosen network again where the registry lost it or its champion.

    A register stage that DVC restores from its cache runs nothing.

    Raises:
        LenetError: MLflow cannot be reached.
    """
    path = project.root / REGISTRATION
    if project.is_experiment or not path.is_file():
        return
    known = read_json(path)
    run_dir = RunDir(project.runs / known["run"])
    if run_dir.state() != FINISHED:
        return
    recover_if_needed(project, known["model"])
    uri, _ = requested_destination(project, run_dir.identity())
    with RegisteredModel(project, known["model"], uri) as registry:
        is_missing = database_path(uri) is not None and not registry.by_run("", known["weights_sha256"])
        if not is_missing and _lost_champion(registry) is None:
            return
    register_chosen(project, read_params(project))


def _lost_champion(registry: RegisteredModel) -> RunDir | None:
    """Return the run of the last champion where the registry has none and the run's directory is here."""
    # Asked first: a home that changed no champion there need not see the model, which a server may deny.
    if not any((one.model, one.store) == (registry.name, registry.store) for one in read_history(registry.project)):
        return None
    ref = None if registry.by_alias(CHAMPION) else last_champion(shared_history(registry))
    if ref is None:
        return None
    run_dir = RunDir(registry.project.runs / ref.fingerprint)
    if run_dir.state() == FINISHED and run_dir.status()["files"][WEIGHTS] == ref.weights_sha256:
        return run_dir
    logger.warning(f"{registry.name}: the champion {run_dir.short} is lost, and its run directory too")
    return None


def _register(registry: RegisteredModel, run_dir: RunDir, evaluation: dict[str, Any] | None) -> str:
    """Register a finished run, with the card in its directory; return its version's number."""
    from lenet.registry.packaging import log_export, pack_version
    from lenet.registry.register import register

    project, uri = registry.project, registry.uri
    with store_errors(uri, "run the command again"):
        run_ref = RunSync(project, uri, requested_destination(project, run_dir.identity())[1]).send(run_dir)
        path = run_dir.path / RUN_MODEL_CARD
        card = as_description(path.read_text(encoding="utf-8")) if path.is_file() else None
        version, is_new = register(
            registry,
            run_ref,
            run_dir,
            lambda folder: pack_version(project, run_dir, folder),
            _evaluation_tags(evaluation),
            card,
        )
        log_export(project, run_ref, run_dir)
    aliases = ", ".join(version.aliases)
    logger.info(f"{version.label} ({aliases}): {'registered' if is_new else 'registered already'}")
    return version.number


def _evaluation_tags(evaluation: dict[str, Any] | None) -> dict[str, str]:
    """Return the tags that say how the evaluation found the chosen network."""
    if evaluation is None:
        return {}
    choice = evaluation["choice"]
    own = next(run for run in evaluation["variants"][choice["variant"]]["runs"] if run["seed"] == choice["seed"])
    return {
        "lenet.variant": choice["variant"],  # a run that two variants share has the name of the first
        "lenet.test_digest": evaluation["test_digest"],
        "lenet.test_error": f"{own['error']:.2f}",
    }
