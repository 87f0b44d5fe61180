"""The model registry: a trained network as a version that leads back to its run, its commit and its data."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.locks import locked
from lenet.project import Project
from lenet.runs import RunFolder
from lenet.tracking.projection import Place
from lenet.tracking.store import WEIGHTS_TAG, open_store

if TYPE_CHECKING:
    import torch
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

CHAMPION, CHALLENGER = "champion", "challenger"
MODEL_FOLDER = "model"
EXAMPLES = 2
"""Images of the input example: torch.export takes a batch of one for a constant."""

REQUIREMENTS = ("torch", "numpy")
"""What a served model needs; mlflow would take seconds to guess it."""


@dataclass(frozen=True)
class Version:
    """A version in the registry.

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
    project: Project, place: Place, folder: RunFolder, reader: torch.nn.Module, model: str, tags: dict[str, str]
) -> Version:
    """Make sure that the registry has a run's trained network, as the challenger, and as champion where there is none.

    The same weights are the same version, however often they are registered.

    Args:
        project: where things are.
        place: where the run is shown.
        folder: the finished run.
        reader: its trained network, bytes [n, 28, 28] to logits.
        model: name of the registered model.
        tags: what leads back to run, commit and data.
    """
    client = open_store(project, place.uri)
    sha256 = folder.status()["files"]["weights.safetensors"]
    with locked(project.home / "registry.lock"):
        _ensure_model(client, model)
        version = _find(client, model, sha256)
        is_new = version is None
        if version is None:
            version = _create(client, place, folder, reader, model, tags | {WEIGHTS_TAG: sha256})
        client.set_registered_model_alias(model, CHALLENGER, version.version)
        if CHAMPION not in client.get_registered_model(model).aliases:
            client.set_registered_model_alias(model, CHAMPION, version.version)
        aliases = client.get_model_version(model, version.version).aliases
    return Version(model, str(version.version), is_new, tuple(sorted(aliases)))


def _ensure_model(client: MlflowClient, model: str) -> None:
    from mlflow.exceptions import MlflowException

    about = "LeNet-5 and its variants: bytes of 28×28 digits in, logits out. Each version leads back to its run."
    try:
        client.create_registered_model(model, description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _find(client: MlflowClient, model: str, sha256: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{model}' and tags.`{WEIGHTS_TAG}` = '{sha256}'")
    ready = [version for version in found if version.status == "READY"]
    return min(ready, key=lambda version: int(version.version)) if ready else None


def _create(
    client: MlflowClient, place: Place, folder: RunFolder, reader: torch.nn.Module, model: str, tags: dict[str, str]
) -> ModelVersion:
    with tempfile.TemporaryDirectory() as temporary:
        packed = Path(temporary) / MODEL_FOLDER
        pack(reader, folder.config().data.classes, packed)
        for name in ("weights.safetensors", "config.yaml"):
            shutil.copyfile(folder.path / name, packed / name)
        client.log_artifacts(place.run_id, str(packed), MODEL_FOLDER)
    source = f"{client.get_run(place.run_id).info.artifact_uri}/{MODEL_FOLDER}"
    return client.create_model_version(model, source, place.run_id, tags=tags, description=folder.identity()["name"])


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
