"""A store whose project was moved, copied or mounted elsewhere: its artifacts' paths follow it.

MLflow writes absolute paths down when an experiment, a run or a model is made, and has no way to change them. An
SQLite store's artifacts lie in `mlartifacts/` beside its file, so the paths that it made itself are known by how the
experiments' paths end, and they are put right by SQL, under the store's lock, in one transaction.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lenet.core.file_lock import locked

ARTIFACTS = "mlartifacts"
"""The folder of all artifacts, beside an SQLite store's file."""

UPDATES = (
    "update experiments set artifact_location = :now || substr(artifact_location, :length)"
    " where substr(artifact_location, 1, :length) = :was || '/'",
    "update runs set artifact_uri = :now || substr(artifact_uri, :length)"
    " where substr(artifact_uri, 1, :length) = :was || '/'",
    "update logged_models set artifact_location = :now || substr(artifact_location, :length)"
    " where substr(artifact_location, 1, :length) = :was || '/'",
    "update model_versions set source = :now || substr(source, :length) where substr(source, 1, :length) = :was || '/'",
    "update model_versions set storage_location = :now || substr(storage_location, :length)"
    " where substr(storage_location, 1, :length) = :was || '/'",
)
"""Wherever MLflow keeps paths of artifacts."""

Moves = dict[str, str]
"""Where a root of artifacts was, and where it is, as URIs without a slash at the end."""

WAIT_SECONDS = 60.0


def moved_roots(connection: sqlite3.Connection, path: Path) -> Moves:
    """Return the roots that a store made its artifacts' paths of while its file lay elsewhere; raises sqlite3.Error.

    Args:
        connection: to the store.
        path: the store's file, as it lies now.
    """
    root = path.parent / ARTIFACTS
    if not root.is_dir():  # a copy of the file alone: its artifacts are where they were
        return {}
    found = {}
    for name, location in connection.execute("select name, artifact_location from experiments"):
        end = Path("/", name).as_uri().removeprefix("file://")
        was = (location or "").removesuffix(end)
        if was != location and was.startswith("file:///") and was.endswith(f"/{ARTIFACTS}") and was != root.as_uri():
            found[was] = root.as_uri()
    return found


def here(uri: str, moves: Moves) -> str:
    """Return where artifacts are that lay at a URI before the store was moved."""
    for was, now in moves.items():
        if uri.startswith(f"{was}/"):
            return f"{now}{uri.removeprefix(was)}"
    return uri


def relocate(path: Path, lock: Path) -> bool:
    """Have a store's paths follow it where it was moved, and say whether it was.

    Args:
        path: the store's file.
        lock: held by whoever makes the store ready.

    Raises:
        sqlite3.Error: it is no store of MLflow's, or of a version that is not known here.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=WAIT_SECONDS)) as connection:
        if not moved_roots(connection, path):
            return False
    with locked(lock), closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as connection, connection:
        connection.execute("begin immediate")
        for was, now in moved_roots(connection, path).items():
            for update in UPDATES:
                connection.execute(update, {"was": was, "now": now, "length": len(was) + 1})
    return True
