"""A version's network as MLflow 3 knows it: a logged model, which leads to its run, data sets and metrics.

Killed at any point, the same command goes on: a model that is not `READY` was never whole and is deleted, one that is
and has no version yet gets one, and links and metrics are added where they are missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.config.validation import flatten
from lenet.core.atomic_io import remove
from lenet.registry.manifest import MODEL_TAG
from lenet.runs.run_dir import RunDir
from lenet.tracking.entities import measured
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.uris import local_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric

NAME_TAG = "lenet.registered_model"
"""Tag of a logged model: the registered model that it was made for."""

VERSIONS_TAG = "mlflow.modelVersions"
"""Tag of a logged model by which MLflow shows its versions; its server sets it, its client does not."""


def find_ready(
    client: MlflowClient, place: MlflowRunRef, model: str, is_usable: Callable[[LoggedModel], bool]
) -> LoggedModel | None:
    """Return the logged model that a killed command left whole, without a version; what it left half made is deleted.

    Args:
        client: the store's; the caller holds the registry's lock.
        place: the run that trained it.
        model: the registered model.
        is_usable: says whether its files and tags are those of the network.
    """
    found = client.search_logged_models([place.experiment_id], filter_string=f"source_run_id = '{place.run_id}'")
    ready = None
    for one in found:
        if one.tags.get(NAME_TAG) != model or one.tags.get(VERSIONS_TAG):
            continue
        if ready is None and str(one.status) == "READY" and is_usable(one):
            ready = one
        else:
            _delete(client, one)
    return ready


def _delete(client: MlflowClient, logged: LoggedModel) -> None:
    client.delete_logged_model(logged.model_id)
    folder = local_path(logged.artifact_location)
    if folder is not None and folder.parent.name == logged.model_id:
        remove(folder.parent, folder.parents[1])


def make_ready(
    client: MlflowClient,
    place: MlflowRunRef,
    folder: RunDir,
    model: str,
    tags: Mapping[str, str],
    seal: Callable[[str], tuple[Path, str]],
) -> LoggedModel:
    """Log a network and return its model.

    Args:
        client: the store's.
        place: the run that trained it.
        folder: that run.
        model: the registered model.
        tags: the version's.
        seal: takes the logged model's id; returns the folder that it is to hold, and that folder's digest.
    """
    made = client.create_logged_model(
        place.experiment_id,
        name=model,
        source_run_id=place.run_id,
        tags={**tags, NAME_TAG: model},
        params={name: str(value) for name, value in flatten(folder.identity()["config"])},
    )
    packed, digest = seal(made.model_id)
    client.log_model_artifacts(made.model_id, str(packed))
    client.set_logged_model_tags(made.model_id, {MODEL_TAG: digest})
    return client.finalize_logged_model(made.model_id, "READY")


def complete(
    client: MlflowClient, place: MlflowRunRef, folder: RunDir, model_id: str, versions: Mapping[str, str]
) -> None:
    """Give a logged model the links and metrics that it lacks.

    Args:
        client: the store's.
        place: the run that trained it.
        folder: that run.
        model_id: the logged model.
        versions: the versions that it is, by registered model; none yet: none are added.
    """
    from mlflow.entities import LoggedModelOutput

    logged, run = client.get_logged_model(model_id), client.get_run(place.run_id)
    if run.outputs is None or model_id not in {one.model_id for one in run.outputs.model_outputs}:
        client.log_outputs(place.run_id, [LoggedModelOutput(model_id, len(folder.history()))])
    known = {(one.key, one.step, one.value) for one in logged.metrics or ()}
    metrics = [one for one in _metrics(folder, model_id) if (one.key, one.step, one.value) not in known]
    if metrics:
        client.log_batch(place.run_id, metrics=metrics)
    linked = json.loads(logged.tags.get(VERSIONS_TAG, "[]"))
    named = {(one["name"], str(one["version"])) for one in linked}
    new = [{"name": name, "version": int(number)} for name, number in versions.items() if (name, number) not in named]
    if new:
        client.set_logged_model_tags(model_id, {VERSIONS_TAG: json.dumps(linked + new)})


def _metrics(folder: RunDir, model_id: str) -> list[Metric]:
    """Return the last epoch's validation and what the test set said, each with the data set it was measured on.

    Name, step, value and time are those of the run's own metrics, so that the run has none twice.
    """
    from mlflow.entities import Metric

    return [
        Metric(
            point.name,
            point.value,
            point.timestamp,
            point.step,
            model_id=model_id,
            dataset_name=data.name,
            dataset_digest=data.digest,
        )
        for point, data in measured(folder)
    ]
