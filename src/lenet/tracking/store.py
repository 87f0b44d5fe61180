"""The MLflow store: which one it is, and having it ready before anyone writes to it."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints
from urllib.parse import urlsplit

from lenet.config.schema import StoreUri, TrackingConfig
from lenet.config.validation import parse
from lenet.core.atomic_io import TEMPORARY_SUFFIX, atomic_write
from lenet.core.errors import ConfigError, LenetError
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.core.urls import TRACKING_VARIABLE as URI_VARIABLE
from lenet.core.urls import taken_in, with_password, without_password
from lenet.tracking.relocation import ARTIFACTS, relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
EXPERIMENT = "lenet5"
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

UNAVAILABLE, REFUSED = "TEMPORARILY_UNAVAILABLE", "INVALID_PARAMETER_VALUE"
"""MLflow's names of errors: a store that cannot now; a value that it does not take."""

WEB = ("http", "https")
DATABRICKS = "databricks"
"""A store that is named without `://`."""

BODY = "Response body:"
"""Before what a server answered, in MLflow's words."""

MAX_SAID = 160
"""Characters of an error that one line shows; MLflow lists what it supports, and servers answer with pages."""

SQLITE_REMEDIES = {
    "disk is full": "make room (`lenet clean` says which runs can go)",
    "disk I/O error": "make room, or see to the disk",
    "is locked": "another process is at it, wait for it",
    "readonly": "see to the rights of the file and its folder",
    "unable to open": "see to the rights of the file and its folder",
}
"""By what SQLite says, what helps where the file itself is whole."""

# Training must not wait minutes for a server that is away; a user's own setting stands.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # a line a file in CI's log
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where the answer goes
}


def tracking_uri(project: Project, configured: str | None = None) -> str:
    """Return the URI of the store without a password: the config's, MLFLOW_TRACKING_URI, or SQLite in the home.

    A relative SQLite path is taken from the home: in DVC's temporary experiments the working folder is another.

    Raises:
        ConfigError: it is neither a server's address nor a database's, or a relative SQLite path leads out of the home.
    """
    named = configured or os.environ.get(URI_VARIABLE)
    if not named:
        return f"{SQLITE}{project.home / DATABASE}"
    parse(StoreUri, without_password(named), "tracking.uri" if configured else URI_VARIABLE)
    if named.startswith(SQLITE):
        return f"{SQLITE}{project.home / named.removeprefix(SQLITE)}"
    uri = taken_in(named)
    if urlsplit(uri).scheme in WEB:
        uri = uri.rstrip("/")
    _check_kind(uri, uri if configured else f"{URI_VARIABLE}={uri}")
    return uri


def _check_kind(uri: str, told: str) -> None:
    scheme, slashes, _ = uri.partition("://")
    address, page, _ = uri.partition("#")
    if page and scheme in WEB:
        raise ConfigError(f"{told}: is a page of MLflow's; its store is {address.rstrip('/')}")
    if scheme == "file" or not (slashes or uri.startswith(DATABRICKS)):
        server = f"http://{uri}" if re.match(r"[\w.-]+:\d+", uri) else "http://host:5000"
        raise ConfigError(
            f"{told}: must be an MLflow server ({server}) or a database (sqlite:///mlflow.db);"
            " MLflow keeps no runs in folders any more"
        )


def experiment_name(configured: str | None) -> str:
    """Return the name of the MLflow experiment: the config's, MLFLOW_EXPERIMENT_NAME, or `lenet5`.

    Raises:
        ConfigError: the variable's is not one that the config may have.
    """
    allowed = get_type_hints(TrackingConfig, include_extras=True)["experiment"]
    named: str | None = parse(allowed, configured or os.environ.get(EXPERIMENT_VARIABLE) or None, EXPERIMENT_VARIABLE)
    return named or EXPERIMENT


def shown_uri(uri: str) -> str:
    """Return the URI without a password, fit to be shown."""
    return without_password(uri)


def reason(error: Exception) -> str:
    """Return in a few words what MLflow said, without passwords: no pages, no lists."""
    text = without_password(str(error)) or type(error).__name__
    if getattr(error, "response", None) is None and _is_silent(error):
        cause = re.search(r"\[Errno -?\d+\] [\w ]+|too many \d+ error responses", text)
        return f"does not answer ({cause[0] if cause else type(error.__context__ or error).__name__})"
    said, body, answer = text.partition(BODY)
    if body and answer.lstrip(" '\"").startswith("<"):
        text = f"{said} it answered with a web page, which MLflow does not"
    line = " ".join(text.splitlines()[0].split())
    return line if len(line) <= MAX_SAID else f"{line[:MAX_SAID]}…"


def database_path(uri: str) -> Path | None:
    """Return the file of an SQLite store, or None for any other."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def set_http_defaults() -> None:
    """Set MLflow's patience, as far as the user has not; it is read when MLflow is imported."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)


class StoreAwayError(LenetError):
    """A store does not answer, or is none: whatever else one asks of it will fail alike."""


def store_failures() -> tuple[type[Exception], ...]:
    """Return what MLflow raises where a store is away, refuses, or answers with something else than MLflow does."""
    set_http_defaults()
    from google.protobuf.json_format import ParseError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError, ParseError, json.JSONDecodeError


@contextmanager
def store_errors(uri: str, remedy: str) -> Iterator[None]:
    """Within the block an error of the store is a LenetError that says to start it and then to do `remedy`.

    Where the store is there and denies the account a right, it says which variables name another account.

    Raises:
        StoreAwayError: the store does not answer, or not as MLflow does.
        LenetError: it refuses.
    """
    failures = store_failures()
    try:
        yield
    except failures as error:
        kind = StoreAwayError if _is_silent(error) or _is_foreign(error) else LenetError
        raise kind(f"MLflow at {shown_uri(uri)}: {reason(error)}; {_first_step(uri, error)} and {remedy}") from error


def _first_step(uri: str, error: Exception) -> str:
    if _is_denied(error):
        return f"the account lacks the right: set {ACCOUNT_VARIABLES} to one that has it"
    if database_path(uri) is not None and getattr(error, "error_code", "") != REFUSED:
        return next((remedy for said, remedy in SQLITE_REMEDIES.items() if said in str(error)), "see to the file")
    if _is_foreign(error):
        return "see that it is an MLflow server"
    return "start it" if _is_silent(error) else "mend that"


def _is_silent(error: Exception) -> bool:
    """Say whether nobody answered, or a server that said it could not now."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if isinstance(error, MlflowException):  # it chains nothing, and repeats the words of what it caught
        return isinstance(error.__context__, RequestException) or error.error_code == UNAVAILABLE
    return isinstance(error, RequestException) and not _is_foreign(error)


def _is_foreign(error: Exception) -> bool:
    """Say whether a server answered as MLflow does not: a proxy, a page, another service."""
    from google.protobuf.json_format import ParseError

    is_foreign = isinstance(error, ParseError | json.JSONDecodeError) or BODY in str(error)
    return is_foreign and not _is_denied(error) and getattr(error, "error_code", "") != UNAVAILABLE


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
    set_http_defaults()
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
        address = with_password(uri)
        client = mlflow.MlflowClient(address, registry_uri=address)
        if path is not None:
            client.search_experiments(max_results=1)  # opens the file
    except SQLAlchemyError as error:
        raise LenetError(_unusable(uri, error)) from error
    except MlflowException as error:
        if urlsplit(uri).scheme in WEB:
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
    remedy = f"name another in tracking.uri or {URI_VARIABLE}"
    if database_path(uri) is not None:
        found = next((remedy for said, remedy in SQLITE_REMEDIES.items() if said in str(error)), None)
        remedy = found or "move the file away, `lenet sync` fills a new one from the run folders"
    return f"{shown_uri(uri)}: MLflow cannot open this store ({reason(error)}); {remedy}"


def _make_database(path: Path) -> None:
    """Make an SQLite store under another name first: a process that dies in the middle leaves a file nobody can use.

    So do several that make it at once; the caller holds the lock.
    """
    import mlflow

    for left in path.parent.glob(f".{path.name}.*{TEMPORARY_SUFFIX}*"):  # by one that was killed at it
        left.unlink(missing_ok=True)
    with atomic_write(path) as temporary:
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
