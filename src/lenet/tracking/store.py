"""The MLflow store: which one it is, and having it ready before anyone writes to it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lenet.config import StoreUri
from lenet.durable import TEMPORARY_SUFFIX, replacing
from lenet.errors import LenetError
from lenet.locks import locked
from lenet.project import Project
from lenet.schema import parse
from lenet.tracking.relocation import ARTIFACTS, relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"
SQLITE = "sqlite:///"
BUSY_SECONDS = 1.0
WEIGHTS_TAG = "lenet.weights_sha256"
"""Tag of a registered version: what it is known by."""

DATABASE_LOGGER = "mlflow.store.db.utils"
"""Prints the traceback of every error of a database, which is told in a line."""

ACCOUNT_VARIABLES = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
DENIED = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
"""By HTTP status, what MLflow calls it: nobody is known by that name and password; somebody is, who may not."""

# Training must not wait minutes for a server that is away; a user's own setting stands.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # a line a file in CI's log
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where the answer goes
}


def tracking_uri(project: Project, configured: str | None = None) -> str:
    """Return the URI of the store: the config's, MLFLOW_TRACKING_URI, or SQLite in the project's home.

    A relative SQLite path is taken from the home: in DVC's temporary experiments the working folder is another.

    Raises:
        ConfigError: a relative SQLite path leads out of the home.
    """
    named = configured or os.environ.get(URI_VARIABLE)
    if not named:
        return f"{SQLITE}{project.home / DATABASE}"
    parse(StoreUri, named, "tracking.uri" if configured else URI_VARIABLE)
    if named.startswith(SQLITE):
        return f"{SQLITE}{project.home / named.removeprefix(SQLITE)}"
    return named


def shown_uri(uri: str) -> str:
    """Return the URI without a password, fit to be shown."""
    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":…@") if parts.password else uri


def reason(uri: str, error: Exception) -> str:
    """Return the first line of what MLflow said, without the URI's password, which it repeats."""
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    password = urlsplit(uri).password
    return line.replace(f":{password}@", ":…@") if password else line


def database_path(uri: str) -> Path | None:
    """Return the file of an SQLite store, or None for any other."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def be_patient() -> None:
    """Set MLflow's patience, as far as the user has not; it is read when MLflow is imported."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)


@contextmanager
def store_errors(uri: str, remedy: str) -> Iterator[None]:
    """Within the block an error of the store is a LenetError that says to start it and then to do `remedy`.

    Where the store is there and denies the account a right, it says which variables name another account.
    """
    be_patient()
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        first = "start it" if database_path(uri) is None else "see to the file"
        if _is_denied(error):
            first = f"the account lacks the right: set {ACCOUNT_VARIABLES} to one that has it"
        raise LenetError(f"MLflow at {shown_uri(uri)}: {reason(uri, error)}; {first} and {remedy}") from error


def _is_denied(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in DENIED.values()
    return getattr(getattr(error, "response", None), "status_code", None) in DENIED


def open_store(project: Project, uri: str) -> MlflowClient:
    """Return a client whose store is ready.

    Raises:
        LenetError: the URI's kind is not one that MLflow tracks to, or an SQLite file is no store.
    """
    be_patient()
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger(DATABASE_LOGGER).setLevel(logging.CRITICAL)
    path = database_path(uri)
    try:
        if path is not None:
            with locked(_lock(path)):
                if not path.exists():
                    _make_database(path)
            follow_home(project, uri)
        client = mlflow.MlflowClient(uri, registry_uri=uri)
        if path is not None:
            client.search_experiments(max_results=1)  # opens the file
    except SQLAlchemyError as error:
        raise LenetError(_unusable(uri, error)) from error
    except MlflowException as error:
        if urlsplit(uri).scheme in {"http", "https"}:
            raise
        raise LenetError(_unusable(uri, error)) from error
    return client


def follow_home(project: Project, uri: str) -> None:
    """Have the artifacts' paths of an SQLite store in the home follow it where it was moved; does not import mlflow."""
    path = database_path(uri)
    if path is None or not path.is_file() or not path.is_relative_to(project.home):
        return
    (path.parent / ARTIFACTS).mkdir(exist_ok=True)  # what is written from now on lies there
    try:
        relocate(path, _lock(path))
    except sqlite3.Error:  # damaged, busy, or of another version of mlflow, which says it better
        return


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _unusable(uri: str, error: Exception) -> str:
    remedy = "name another in tracking.uri or MLFLOW_TRACKING_URI"
    if database_path(uri) is not None:
        remedy = "move the file away, `lenet sync` fills a new one from the run folders"
    return f"{shown_uri(uri)}: MLflow cannot open this store ({reason(uri, error)}); {remedy}"


def _make_database(path: Path) -> None:
    """Make an SQLite store under another name first: a process that dies in the middle leaves a file nobody can use.

    So do several that make it at once; the caller holds the lock.
    """
    import mlflow

    for left in path.parent.glob(f".{path.name}.*{TEMPORARY_SUFFIX}*"):  # by one that was killed at it
        left.unlink(missing_ok=True)
    with replacing(path) as temporary:
        mlflow.MlflowClient(f"{SQLITE}{temporary}").search_experiments(max_results=1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode=wal")  # readers and a writer at once; a property of the file


def experiment_id(client: MlflowClient, project: Project, uri: str, name: str) -> str:
    """Return the id of the experiment `name`, made where it is not there; artifacts of SQLite stores lie beside it."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        path = database_path(uri)
        location = (path.parent / ARTIFACTS / name).as_uri() if path else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # made by another process in the meantime, or not to be made at all
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def holds_run(uri: str, run_id: str) -> bool | None:
    """Say whether an SQLite store shows a run; None: cannot say."""
    return _holds(uri, "select 1 from runs where run_uuid = ? and lifecycle_stage = 'active'", run_id)


def holds_version(uri: str, model: str, weights_sha256: str) -> bool | None:
    """Say whether an SQLite registry has these weights as a version of a model; None: cannot say."""
    # A deleted version keeps its tags.
    query = (
        "select 1 from model_versions v join model_version_tags t on t.name = v.name and t.version = v.version"
        " where v.name = ? and v.current_stage != 'Deleted_Internal' and t.key = ? and t.value = ?"
    )
    return _holds(uri, query, model, WEIGHTS_TAG, weights_sha256)


def _holds(uri: str, query: str, *values: str) -> bool | None:
    """Ask an SQLite store without the seconds that importing mlflow takes; other stores cannot be asked so."""
    path = database_path(uri)
    if path is None or not path.is_file():
        return False if path is not None else None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
            return connection.execute(query, values).fetchone() is not None
    except sqlite3.Error:
        return None
