"""Register a run's trained network as a version that leads back to its run, its commit and its data.

Killed at any point, the same command goes on: a logged model without a version is deleted and logged again, and what a
version's logged model lacks is added.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.config.validation import flatten
from lenet.core.atomic_io import remove
from lenet.core.errors import DamagedError
from lenet.core.file_lock import locked
from lenet.evaluation.trained_model import WEIGHTS
from lenet.registry.changes import LOCK
from lenet.registry.manifest import MODEL_ID_TAG, MODEL_TAG, write_manifest
from lenet.registry.registered_model import CONFIG, RegisteredModel
from lenet.registry.versions import CHALLENGER, CHAMPION, WEIGHTS_TAG, Version
from lenet.runs.run_dir import RunDir
from lenet.tracking.entities import measured
from lenet.tracking.relocation import local_path
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.store import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

MODEL_FOLDER = "model"
NAME_TAG = "lenet.registered_model"
"""Tag of a logged model: the registered model that it was made for."""

VERSIONS_TAG = "mlflow.modelVersions"
"""Tag of a logged model by which MLflow's pages show its versions; its server sets it, its client does not."""


def register(
    registry: RegisteredModel,
    run_ref: MlflowRunRef,
    run_dir: RunDir,
    write_model: Callable[[Path], None],
    tags: Mapping[str, str],
    description: str | None = None,
) -> tuple[Version, bool]:
    """Register a run's network once, as the challenger unless it is the champion.

    The same weights are the same version, however often they are registered, unless its files are damaged.

    Args:
        registry: the registered model, in the store of `run_ref`.
        run_ref: the run in MLflow.
        run_dir: the finished run.
        write_model: makes a folder and writes the network into it as an MLflow model; called for a new version only.
        tags: what else to tag a new version with, beside its run, commit and data.
        description: the model card in Markdown; an existing version with another one is updated. None: a new version
            gets the name of its run, an existing one keeps what it has.

    Returns:
        The version, and whether it is new.
    """
    client, name = open_store(registry.project, registry.uri), registry.name
    all_tags = _origin_tags(run_dir) | dict(tags)
    with locked(registry.project.home / LOCK):
        _ensure_model(client, name)
        registry.refresh()
        known = _undamaged(registry, all_tags[WEIGHTS_TAG])
        if known is None:
            text = run_dir.identity()["name"] if description is None else description
            number, model_id = _create(client, name, run_ref, run_dir, write_model, all_tags, text)
        else:
            number, model_id = known.number, known.tags[MODEL_ID_TAG]
            if description is not None and known.description != description:
                client.update_model_version(name, number, description=description)
        _complete(client, run_ref, run_dir, model_id, name, number)
        champion, challenger = registry.by_alias(CHAMPION), registry.by_alias(CHALLENGER)
        if champion is None or champion.number != number:
            client.set_registered_model_alias(name, CHALLENGER, number)
        elif challenger is not None:  # the champion was registered again: nothing challenges it
            client.delete_registered_model_alias(name, CHALLENGER)
        registry.refresh()
    return registry.find_version(number), known is None


def _origin_tags(run_dir: RunDir) -> dict[str, str]:
    """Return the tags that lead back from a version to its run, its commit and its data."""
    config, status = run_dir.config(), run_dir.status()
    git = status["attempts"][-1]["git"]
    return {
        "lenet.fingerprint": run_dir.fingerprint,
        WEIGHTS_TAG: status["files"][WEIGHTS],
        "lenet.variant": config.name,
        "lenet.seed": str(config.seed),
        "lenet.git_commit": git["commit"] or "",
        "lenet.git_dirty": str(git["dirty"]).lower(),
        "lenet.data": config.data.name,
        "lenet.data_digest": run_dir.identity()["data_digest"],
    }


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    about = "Image classifiers trained by this project. Each version leads back to its run, its commit and its data."
    try:
        client.create_registered_model(name, description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _undamaged(registry: RegisteredModel, weights_sha256: str) -> Version | None:
    """Return the oldest version with these weights whose files are what was registered."""
    for version in registry.by_run("", weights_sha256):
        try:
            registry.verify(version)
        except DamagedError:
            continue
        return version
    return None


def _create(
    client: MlflowClient,
    name: str,
    run_ref: MlflowRunRef,
    run_dir: RunDir,
    write_model: Callable[[Path], None],
    tags: Mapping[str, str],
    description: str,
) -> tuple[str, str]:
    """Log a network as a model of its run and make it a version; return the version's number and the model's id."""
    for leftover in client.search_logged_models(
        [run_ref.experiment_id], filter_string=f"source_run_id = '{run_ref.run_id}'"
    ):
        if leftover.tags.get(NAME_TAG) == name and not leftover.tags.get(VERSIONS_TAG):
            _delete(client, leftover)
    logged = client.create_logged_model(
        run_ref.experiment_id,
        name=name,
        source_run_id=run_ref.run_id,
        tags={**tags, NAME_TAG: name},
        params={key: str(value) for key, value in flatten(run_dir.identity()["config"])},
    )
    sealed = {**tags, MODEL_ID_TAG: logged.model_id}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / MODEL_FOLDER
        write_model(folder)
        for file in (WEIGHTS, CONFIG):
            shutil.copyfile(run_dir.path / file, folder / file)
        sealed[MODEL_TAG] = write_manifest(folder, sealed)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    made = client.create_model_version(
        name,
        logged.artifact_location,
        run_ref.run_id,
        tags=sealed,
        description=description,
        model_id=logged.model_id,
    )
    return str(made.version), logged.model_id


def _delete(client: MlflowClient, logged: LoggedModel) -> None:
    client.delete_logged_model(logged.model_id)
    folder = local_path(logged.artifact_location)
    if folder is not None and folder.parent.name == logged.model_id:
        remove(folder.parent, folder.parents[1])


def _complete(
    client: MlflowClient, run_ref: MlflowRunRef, run_dir: RunDir, model_id: str, name: str, number: str
) -> None:
    """Link a logged model to its run and version, and log its metrics with their data sets, as far as it lacks them.

    Name, step, value and time of a metric are those of the run's own, so that the run has none twice.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    logged, run = client.get_logged_model(model_id), client.get_run(run_ref.run_id)
    if run.outputs is None or model_id not in {one.model_id for one in run.outputs.model_outputs}:
        client.log_outputs(run_ref.run_id, [LoggedModelOutput(model_id, len(run_dir.history()))])
    known = {(one.key, one.step, one.value) for one in logged.metrics or ()}
    metrics = [
        Metric(
            point.name,
            point.value,
            point.timestamp,
            point.step,
            model_id=model_id,
            dataset_name=data.name,
            dataset_digest=data.digest,
        )
        for point, data in measured(run_dir)
        if (point.name, point.step, point.value) not in known
    ]
    if metrics:
        client.log_batch(run_ref.run_id, metrics=metrics)
    linked = json.loads(logged.tags.get(VERSIONS_TAG, "[]"))
    if (name, number) not in {(one["name"], str(one["version"])) for one in linked}:
        versions = [*linked, {"name": name, "version": int(number)}]
        client.set_logged_model_tags(model_id, {VERSIONS_TAG: json.dumps(versions)})
