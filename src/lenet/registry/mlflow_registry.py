"""The model registry: a trained network as a version that leads back to its run, its commit and its data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.core.errors import DamagedError
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.registry.logged_models import complete, find_ready, make_ready
from lenet.registry.manifest import MODEL_TAG, verify_manifest, write_manifest
from lenet.registry.provenance import MODEL_ID_TAG, check_provenance, write_provenance
from lenet.registry.versions import (
    CHALLENGER,
    CHAMPION,
    Version,
    download_source,
    local_source,
    logged_source,
    read_versions,
)
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.store import WEIGHTS_TAG, open_store

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

LOCK = "registry.lock"
"""In the home: held by whoever changes the registry. Machines that share a server have a home, and so a lock, each."""

MODEL_FOLDER = "model"
EXAMPLES = 2
"""Images of the input example: torch.export takes a batch of one for a constant."""

REQUIREMENTS = ("torch", "numpy")
"""What a served model needs; mlflow would take seconds to guess it."""


@dataclass(frozen=True)
class Registered:
    """A version that the registry has.

    Attributes:
        model: the registered model's name.
        number: the version's number, as text.
        is_new: whether this call made it.
        aliases: the aliases that point to it.
    """

    model: str
    number: str
    is_new: bool
    aliases: tuple[str, ...]


def register(
    project: Project,
    place: MlflowRunRef,
    folder: RunDir,
    fill: Callable[[Path], None],
    model: str,
    tags: dict[str, str],
    description: str | None = None,
) -> Registered:
    """Make sure that the registry has a run's trained network, as the challenger where it is not the champion.

    The same weights are the same version, however often they are registered.

    Args:
        project: where things are.
        place: where the run is shown.
        folder: the finished run.
        fill: makes a folder and writes the network into it as an MLflow model; called for a new version only.
        model: name of the registered model.
        tags: what leads back to run, commit and data.
        description: Markdown, which a version that is there already is given too where its own differs; None: a new
            version's is its run's name, another's stays.
    """
    client = open_store(project, place.uri)
    sha256 = folder.status()["files"]["weights.safetensors"]
    with locked(project.home / LOCK):
        _ensure_model(client, model)
        known = _find(project, read_versions(project, place.uri, model), sha256, place.uri)
        all_tags = tags | {WEIGHTS_TAG: sha256}
        number = known.number if known else _create(project, client, place, folder, fill, model, all_tags, description)
        if known is not None:
            complete(client, place, folder, known.tags[MODEL_ID_TAG], {model: number})
        if known is not None and description is not None and known.description != description:
            client.update_model_version(model, number, description=description)
        named = client.get_registered_model(model).aliases
        if str(named.get(CHAMPION)) != number:
            client.set_registered_model_alias(model, CHALLENGER, number)
        elif CHALLENGER in named:  # what is asked for is the champion: nothing challenges it
            client.delete_registered_model_alias(model, CHALLENGER)
        aliases = client.get_model_version(model, number).aliases
    return Registered(model, number, known is None, tuple(sorted(aliases)))


def _ensure_model(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    about = "LeNet-5 and its variants: bytes of 28×28 digits in, logits out. Each version leads back to its run."
    try:
        client.create_registered_model(model, description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find(project: Project, versions: list[Version], sha256: str, uri: str) -> Version | None:
    """Return the oldest version with these weights that can be used; a damaged one cannot be, and is made anew."""
    return next((one for one in versions if one.weights_sha256 == sha256 and _is_usable(project, one, uri)), None)


def _is_usable(project: Project, version: Version, uri: str) -> bool:
    if MODEL_TAG not in version.tags:  # cannot be told from one that was tampered with
        return False
    if version.source != logged_source(project, uri, version.tags.get(MODEL_ID_TAG, "")):
        return False
    with tempfile.TemporaryDirectory() as temporary:
        try:
            packed = local_source(version) or download_source(version, uri, Path(temporary))
            manifest = verify_manifest(packed, version.tags[MODEL_TAG], "")
            check_provenance(packed, manifest, version.tags, version.label, "")
        except DamagedError:
            return False
    return True


def _create(
    project: Project,
    client: MlflowClient,
    place: MlflowRunRef,
    folder: RunDir,
    fill: Callable[[Path], None],
    model: str,
    tags: dict[str, str],
    description: str | None,
) -> str:
    logged = find_ready(client, place, model, lambda one: _is_usable(project, _as_version(one), place.uri))
    if logged is None:
        with tempfile.TemporaryDirectory() as temporary:
            packed = Path(temporary) / MODEL_FOLDER
            fill(packed)
            for name in ("weights.safetensors", "config.yaml"):
                shutil.copyfile(folder.path / name, packed / name)

            def seal(model_id: str) -> tuple[Path, str]:
                write_provenance(packed, tags | {MODEL_ID_TAG: model_id})
                return packed, write_manifest(packed)

            logged = make_ready(client, place, folder, model, tags, seal)
    complete(client, place, folder, logged.model_id, {})
    made = client.create_model_version(
        model,
        logged.artifact_location,
        place.run_id,
        tags=tags | {MODEL_TAG: logged.tags[MODEL_TAG], MODEL_ID_TAG: logged.model_id},
        description=folder.identity()["name"] if description is None else description,
        model_id=logged.model_id,
    )
    complete(client, place, folder, logged.model_id, {model: str(made.version)})
    return str(made.version)


def _as_version(logged: LoggedModel) -> Version:
    """Return the version that a logged model would be."""
    tags = logged.tags | {MODEL_ID_TAG: logged.model_id}
    return Version(logged.name, "", (), tags, logged.artifact_location, logged.source_run_id or "", 0.0, "")


def pack(reader: torch.nn.Module, classes: int, folder: Path) -> None:
    """Write a network of so many classes as an MLflow model in `pt2` format, with signature and input example."""
    from importlib.metadata import version

    import mlflow.pytorch
    import numpy as np

    example = np.zeros((EXAMPLES, 28, 28), dtype=np.uint8)
    mlflow.pytorch.save_model(
        reader.eval(),
        str(folder),
        signature=signature(classes),
        input_example=example,
        serialization_format="pt2",
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in REQUIREMENTS],
    )


def signature(classes: int) -> ModelSignature:
    """Return what a registered network takes and gives: bytes [n, 28, 28], float32 logits [n, classes]."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 28, 28))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, classes))]),
    )
