"""`mlflow.json` in the directory of a run or a search: for each store the run there, and what it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lenet.core.atomic_io import Shape, read_json, write_json
from lenet.core.errors import DamagedError
from lenet.runs.run_dir import RunDir
from lenet.tracking.store_errors import SQLITE, database_path

RECORD = "mlflow.json"
SHAPE: Shape = {"stores": {str: {"experiment_id": str, "run_id": str, "token": str, "artifacts": {str: str}}}}


@dataclass(frozen=True)
class MlflowRunRef:
    """A run of MLflow: its store, its experiment, its id."""

    uri: str
    experiment_id: str
    run_id: str


@dataclass(frozen=True)
class SyncRecord:
    """What is known of a run of MLflow.

    Attributes:
        experiment_id, run_id: its ids.
        token: digest of all that a server was sent; empty for SQLite stores, which are compared themselves.
        artifacts: the sha256 of the artifacts that it was sent, by path.
    """

    experiment_id: str
    run_id: str
    token: str = ""
    artifacts: Mapping[str, str] = field(default_factory=dict)


def read_record(folder: Path, uri: str) -> SyncRecord | None:
    """Return what the directory of a run or a search records of a store, or None."""
    found = _stores(folder).get(_key(folder, uri))
    return None if found is None else SyncRecord(**{name: found[name] for name in SyncRecord.__dataclass_fields__})


def write_record(folder: Path, uri: str, record: SyncRecord) -> None:
    """Record what a store holds of a run or a search."""
    stores, key = _stores(folder), _key(folder, uri)
    entry = asdict(record)
    if stores.get(key) != entry:
        write_json(folder / RECORD, {**_owner(folder), "stores": {**stores, key: entry}})


def recorded_run_ref(run: RunDir, uri: str) -> MlflowRunRef | None:
    """Return the run of MLflow that shows a run in a store, as recorded."""
    found = read_record(run.path, uri)
    return None if found is None else MlflowRunRef(uri, found.experiment_id, found.run_id)


def _owner(folder: Path) -> dict[str, str]:
    return {"folder": folder.name}


def _key(folder: Path, uri: str) -> str:
    """Return a store's name in the records: a file in the home by its relative path, for both may be moved."""
    home, path = folder.parents[1], database_path(uri)
    return f"{SQLITE}{path.relative_to(home)}" if path is not None and path.is_relative_to(home) else uri


def _stores(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(read_json(folder / RECORD, SHAPE, _owner(folder))["stores"])
    except (FileNotFoundError, DamagedError):  # the store itself says what it holds
        return {}
