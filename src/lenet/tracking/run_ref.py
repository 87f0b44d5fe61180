"""Where a run is shown, as its folder remembers it for each store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenet.core.atomic_io import Shape
from lenet.core.errors import DamagedError
from lenet.runs.run_dir import RunDir
from lenet.tracking.store import SQLITE, database_path

RECORD = "mlflow.json"
STORE_SHAPE: Shape = {"experiment_id": str, "run_id": str, "token": str, "artifacts": {str: str}}
RECORD_SHAPE: Shape = {"stores": {str: STORE_SHAPE}}


@dataclass(frozen=True)
class MlflowRunRef:
    """Where a run is shown: the store, its experiment and the run's id there."""

    uri: str
    experiment_id: str
    run_id: str


def store_key(home: Path, uri: str) -> str:
    """Return the name of a store in the records of a home: a file within the home by its path there, for both move."""
    path = database_path(uri)
    if path is not None and path.is_relative_to(home):
        return f"{SQLITE}{path.relative_to(home)}"
    return uri


def recorded_run_ref(folder: RunDir, uri: str) -> tuple[MlflowRunRef | None, str]:
    """Return where the run was last projected to at `uri`, and the token of what was."""
    found = _stores(folder).get(_key(folder, uri))
    return (MlflowRunRef(uri, found["experiment_id"], found["run_id"]), found["token"]) if found else (None, "")


def recorded_artifacts(folder: RunDir, place: MlflowRunRef) -> dict[str, str]:
    """Return the sha256 of the artifacts that were sent to a place, by their names there."""
    found = _stores(folder).get(_key(folder, place.uri), {})
    return dict(found.get("artifacts", {})) if found.get("run_id") == place.run_id else {}


def record_run_ref(folder: RunDir, place: MlflowRunRef, token: str, artifacts: Mapping[str, str]) -> None:
    """Have a folder remember where it was projected to, the token of what was, and the artifacts that are there."""
    stores, key = _stores(folder), _key(folder, place.uri)
    entry = {"experiment_id": place.experiment_id, "run_id": place.run_id, "token": token, "artifacts": dict(artifacts)}
    if stores.get(key) != entry:
        folder.write(RECORD, {"stores": stores | {key: entry}})


def _key(folder: RunDir, uri: str) -> str:
    return store_key(folder.path.parents[1], uri)


def _stores(folder: RunDir) -> dict[str, dict[str, Any]]:
    try:
        stores: dict[str, dict[str, Any]] = folder.read(RECORD, RECORD_SHAPE)["stores"]
    except (FileNotFoundError, DamagedError):  # the store itself is asked instead
        return {}
    return stores
