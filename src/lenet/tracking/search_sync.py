"""A search in MLflow: one run for the whole, its trials nested under it, as the search's folder says."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.config.validation import flatten
from lenet.core.atomic_io import Shape, canonical_json, read_json, sha256_bytes, write_json
from lenet.core.errors import DamagedError
from lenet.core.file_lock import is_held, locked
from lenet.runs.run_dir import FINISHED, KILLED, RUNNING
from lenet.tracking.entities import MILLISECONDS, PARAMETER_CHARACTERS, artifacts
from lenet.tracking.run_content import Content, Desired, Difference, Point, compare
from lenet.tracking.run_ref import store_key
from lenet.tracking.sqlite_rows import read_run, reading
from lenet.tracking.store import database_path

if TYPE_CHECKING:
    from lenet.tracking.reconcile import Reconciler

SEARCHES = "searches"
"""Folder of all searches within the project's home."""

STUDY_TAG = "lenet.search"
ORIGIN = "search:"
"""Start of what a run's `sweeps` say of the search that asked for it."""

DESCRIPTION, SUMMARY, TABLE, RECORD, LOCK = "search.json", "summary.json", "trials.csv", "mlflow.json", "lock"
PROJECTION_LOCK = "projection.lock"
SENT_FILES = ("best.yaml", TABLE, SUMMARY, "search.html")
SHAPES: dict[str, Shape] = {
    DESCRIPTION: {
        "tracking": {"uri": (str, type(None)), "experiment": str},
        "objectives": [str],
        "sampler": str,
        "pruner": str,
        "epochs": int,
        "space": dict,
    },
    SUMMARY: {"trials": {str: int}, "is_over": bool, "best": (dict, type(None)), "history": [[float]]},
    RECORD: {"stores": {str: {"run_id": str, "token": str, "artifacts": {str: str}}}},
}
BEST_METRIC = "search/best"
SHOWN_TABLE = "trials.json"


def study_of(sweeps: list[str]) -> str | None:
    """Return the search that alone asked for a run; one that anyone else asked for too stands for itself."""
    studies = [sweep.removeprefix(ORIGIN) for sweep in sweeps if sweep.startswith(ORIGIN)]
    return studies[0] if studies and len(studies) == len(sweeps) else None


def search_folders(home: Path) -> list[Path]:
    """Return the folders of all searches, by name."""
    return sorted(path.parent for path in (home / SEARCHES).glob(f"*/{DESCRIPTION}"))


def read_search(folder: Path, name: str) -> dict[str, Any]:
    """Read one of the JSON files of a search's folder, `DESCRIPTION`, `SUMMARY` or `RECORD`.

    Raises:
        DamagedError: it is damaged, or another search's.
        FileNotFoundError: there is no such file.
    """
    return read_json(folder / name, SHAPES[name], {"study": folder.name})


def token(folder: Path) -> str:
    """Return a digest of all that is projected of a search, to see whether a server was sent it."""
    sizes = [[name, path.stat().st_size] for name, path in artifacts(folder, SENT_FILES).items()]
    seen = [read_search(folder, DESCRIPTION), _summary(folder), _state(folder), sizes]
    return sha256_bytes(canonical_json(seen).encode())


def is_search_up_to_date(folder: Path, uri: str) -> bool:
    """Say, without importing mlflow, whether a store shows all of a search: an SQLite store, or was sent it."""
    known, path = _recorded(folder).get(store_key(folder.parents[1], uri)), database_path(uri)
    if known is None:
        return False
    if path is None:
        return bool(known["token"] == token(folder))
    found = search_difference(folder, path, known["run_id"], known["artifacts"])
    return found is not None and not found


def search_difference(folder: Path, path: Path, run_id: str, sent: Mapping[str, str]) -> Difference | None:
    """Return how a search and its run in an SQLite store differ, or None where that has no such run.

    Args:
        folder: the search's.
        path: the store's file.
        run_id: the run's id there.
        sent: the artifacts that were sent; they count where they lie on no disk of this machine.

    Raises:
        DamagedError: the search's description is damaged.
    """
    if not path.is_file():
        return None
    try:
        with reading(path) as connection:
            actual = read_run(connection, path, run_id)
    except sqlite3.Error:  # of another version of mlflow, which is asked itself then
        return None
    if actual is None:
        return None
    actual.sent = dict(sent)
    return compare(desired_search(folder), actual, is_exact=path.is_relative_to(folder.parents[1]))


def desired_search(folder: Path) -> Desired:
    """Return what MLflow is to hold of a search.

    Raises:
        DamagedError: its description is damaged.
    """
    description, summary, state = read_search(folder, DESCRIPTION), _summary(folder), _state(folder)
    shown = {key: description[key] for key in ("objectives", "sampler", "pruner", "epochs", "space")}
    files: dict[str, Content] = {**artifacts(folder, SENT_FILES)}
    if summary:
        files[SHOWN_TABLE] = _shown_table(folder / TABLE)
    return Desired(
        key=(STUDY_TAG, folder.name),
        name=f"search {folder.name}",
        start_time=None,
        params={f"search.{key}": str(value)[:PARAMETER_CHARACTERS] for key, value in flatten(shown)},
        tags={STUDY_TAG: folder.name} | _best_tags(summary),
        points=_points(summary),
        renewed=frozenset(f"search/trials_{name}" for name in summary.get("trials", ())),
        artifacts=files,
        status=state,
    )


def _points(summary: dict[str, Any]) -> list[Point]:
    if not summary:
        return []
    best = [
        Point(BEST_METRIC, step, float(value), int(ended * MILLISECONDS)) for step, value, ended in summary["history"]
    ]
    step, when = len(best), best[-1].timestamp if best else 0
    return best + [
        Point(f"search/trials_{name}", step, float(count), when) for name, count in summary["trials"].items()
    ]


def _best_tags(summary: dict[str, Any]) -> dict[str, str]:
    if not summary:
        return {}
    tags = {"mlflow.loggedArtifacts": json.dumps([{"path": SHOWN_TABLE, "type": "table"}])}
    best = summary["best"]
    if best is not None:
        tags |= {f"lenet.best.{name}": str(value) for name, value in best["values"].items()}
        tags |= {"lenet.best.run": best["run"], "lenet.best.val_error": f"{best['val_error']:.4g}"}
    return tags


def ensure_parent(reconciler: Reconciler, folder: Path) -> str:
    """Return the id of a search's run in MLflow, made where there is none; `send_search` makes it whole."""
    nothing = Desired(
        (STUDY_TAG, folder.name), f"search {folder.name}", None, {}, {STUDY_TAG: folder.name}, [], {}, RUNNING
    )
    with locked(folder / PROJECTION_LOCK):
        found = reconciler.find(nothing) or reconciler.bring(nothing, None)
    return found.run_id


def send_search(reconciler: Reconciler, uri: str, folder: Path) -> str:
    """Bring a store up to date with a search's folder, and return the id of its run there.

    Raises:
        MlflowException, OSError: the store is away or refuses; sending again later goes on where this ended.
    """
    with locked(folder / PROJECTION_LOCK):
        now, desired, key = token(folder), desired_search(folder), store_key(folder.parents[1], uri)
        known = _recorded(folder).get(key, {})
        actual = reconciler.find(desired)
        if actual is not None and actual.run_id == known.get("run_id"):
            actual.sent = dict(known["artifacts"])
        actual = reconciler.bring(desired, actual)
        entry = {"run_id": actual.run_id, "token": now, "artifacts": actual.sent}
        if entry != known:
            write_json(folder / RECORD, {"study": folder.name, "stores": _recorded(folder) | {key: entry}})
    return actual.run_id


def _shown_table(path: Path) -> bytes:
    """Return the trials in the form that MLflow's UI shows as a table."""
    with path.open(encoding="utf-8", newline="") as stream:
        columns, *rows = list(csv.reader(stream))
    return json.dumps({"columns": columns, "data": rows}).encode()


def _summary(folder: Path) -> dict[str, Any]:
    try:
        return read_search(folder, SUMMARY)
    except (FileNotFoundError, DamagedError):
        return {}


def _state(folder: Path) -> str:
    if is_held(folder / LOCK):
        return RUNNING
    return FINISHED if _summary(folder).get("is_over") else KILLED


def _recorded(folder: Path) -> dict[str, Any]:
    try:
        return dict(read_search(folder, RECORD)["stores"])
    except (FileNotFoundError, DamagedError):
        return {}
