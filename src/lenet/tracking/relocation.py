"""Artifact paths of an SQLite store whose project was moved, copied or mounted elsewhere.

MLflow keeps absolute paths in experiments, runs and models and has no call that changes them: hence the SQL here, in
one transaction. An SQLite store's artifacts lie in `mlartifacts/` beside its file; its own paths are recognized by how
the experiments' paths end.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lenet.core.file_lock import locked

ARTIFACTS = "mlartifacts"
"""The folder of all artifacts, beside an SQLite store's file."""

COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Wherever MLflow keeps paths of artifacts."""

WAIT_SECONDS = 60.0

Moves = dict[str, str]
"""Old and new URIs of the artifacts' folder, without a slash at the end."""


def moved_roots(connection: sqlite3.Connection, path: Path) -> Moves:
    """Return where the artifacts' folder was when a store's paths were made, where that is not where it is now.

    Args:
        connection: to the store.
        path: the store's file.

    Raises:
        sqlite3.Error: it is not a store of MLflow's.
    """
    root = path.parent / ARTIFACTS
    if not root.is_dir():  # a copy of the file alone: the artifacts are where they were
        return {}
    found = {}
    for name, location in connection.execute("select name, artifact_location from experiments"):
        end = Path("/", name).as_uri().removeprefix("file://")
        old = (location or "").removesuffix(end)
        if old != location and old.startswith("file:///") and old.endswith(f"/{ARTIFACTS}") and old != root.as_uri():
            found[old] = root.as_uri()
    return found


def current_uri(uri: str, moves: Moves) -> str:
    """Return the URI of artifacts after the moves."""
    for old, new in moves.items():
        if uri.startswith(f"{old}/"):
            return f"{new}{uri.removeprefix(old)}"
    return uri


def local_path(uri: str) -> Path | None:
    """Return the folder that a `file:` URI or an absolute path names, or None where it is not on this machine."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return Path(unquote(parts.path))
    return Path(uri) if not parts.scheme and uri.startswith("/") else None


def relocate(path: Path, lock: Path) -> None:
    """Correct all paths of a store that was moved.

    Args:
        path: the store's file.
        lock: held meanwhile.

    Raises:
        sqlite3.Error: it is not a store of MLflow's, or of an unknown version.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=WAIT_SECONDS)) as connection:
        if not moved_roots(connection, path):
            return
    with locked(lock), closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as connection, connection:
        connection.execute("begin immediate")
        for old, new in moved_roots(connection, path).items():
            for table, column in COLUMNS:
                connection.execute(
                    f"update {table} set {column} = :new || substr({column}, :length)"  # noqa: S608  (constants)
                    f" where substr({column}, 1, :length) = :old || '/'",
                    {"old": old, "new": new, "length": len(old) + 1},
                )
