"""The MLflow store: its URI, its experiments, and a client once it is ready."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lenet.config.schema import Config, ExperimentName, StoreUri
from lenet.config.validation import parse
from lenet.core.atomic_io import TEMPORARY_SUFFIX, atomic_write
from lenet.core.errors import ConfigError, LenetError
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.core.urls import TRACKING_VARIABLE, taken_in, with_password, without_password
from lenet.tracking.relocation import ARTIFACTS, relocate
from lenet.tracking.store_errors import HTTP, SQLITE, database_path, set_http_defaults, unusable

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
IGNORED_VARIABLES = {"MLFLOW_EXPERIMENT_ID": EXPERIMENT_VARIABLE, "MLFLOW_REGISTRY_URI": TRACKING_VARIABLE}
"""MLflow's variables that have no effect here, and those that have."""

DATABASE = "mlflow.db"
CACHE_VARIABLE = "XDG_CACHE_HOME"
DATABRICKS = "databricks"
"""A store that is named without `://`."""

DATABASE_LOGGER = "mlflow.store.db.utils"
"""Logs the traceback of each database error, which is reported in one line here."""


def tracking_uri(project: Project, configured: str | None = None) -> str:
    """Return the store's URI without its password: the config's, MLFLOW_TRACKING_URI, or SQLite in the home.

    A relative SQLite path is resolved against the home: DVC's temporary experiments have another working directory.

    Raises:
        ConfigError: it is neither a server's address nor a database's, or a relative SQLite path leads out of the home.
    """
    uri = configured or os.environ.get(TRACKING_VARIABLE)
    if not uri:
        return f"{SQLITE}{project.home / DATABASE}"
    parse(StoreUri, without_password(uri), "tracking.uri" if configured else TRACKING_VARIABLE)
    if uri.startswith(SQLITE):
        return f"{SQLITE}{project.home / uri.removeprefix(SQLITE)}"
    uri = taken_in(uri)
    if urlsplit(uri).scheme in HTTP:
        uri = uri.rstrip("/")
    _check_kind(uri, uri if configured else f"{TRACKING_VARIABLE}={uri}")
    return uri


def _check_kind(uri: str, label: str) -> None:
    scheme, slashes, _ = uri.partition("://")
    address, page, _ = uri.partition("#")
    if page and scheme in HTTP:
        raise ConfigError(f"{label}: is a page of MLflow's UI; the store is {address.rstrip('/')}")
    if scheme == "file" or not (slashes or uri.startswith(DATABRICKS)):
        server = f"http://{uri}" if re.match(r"[\w.-]+:\d+", uri) else "http://host:5000"
        raise ConfigError(
            f"{label}: must be an MLflow server ({server}) or a database (sqlite:///mlflow.db);"
            " MLflow keeps no runs in folders any more"
        )


def experiment_name(config: Config) -> str:
    """Return the name of a run's MLflow experiment: the config's, MLFLOW_EXPERIMENT_NAME, or the data set's.

    Raises:
        ConfigError: the variable's value is not one that the config may have.
    """
    named = config.tracking.experiment or os.environ.get(EXPERIMENT_VARIABLE)
    if not named:
        return config.data.name
    parsed: str = parse(ExperimentName, named, EXPERIMENT_VARIABLE)
    return parsed


def open_store(project: Project, uri: str) -> MlflowClient:
    """Return a client of a store that is ready.

    Raises:
        LenetError: MLflow does not track to this kind of URI, or an SQLite file is not a store.
    """
    set_http_defaults()
    from lenet.tracking.mlflow_import import mlflow  # isort: skip
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger(DATABASE_LOGGER).setLevel(logging.CRITICAL)
    _warn_of_ignored_variables()
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
    except (SQLAlchemyError, MlflowException) as error:
        if urlsplit(uri).scheme in HTTP:
            raise
        raise LenetError(unusable(uri, error)) from error
    return client


@cache
def _warn_of_ignored_variables() -> None:
    for name, instead in IGNORED_VARIABLES.items():
        if os.environ.get(name):
            logger.warning("%s is ignored; set %s", name, instead)


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _make_database(path: Path) -> None:
    """Make an SQLite store: a copy of the user's empty one, for MLflow's migrations take more than a second.

    Where no such copy can be kept, as in a container without a home, it is made in place. The caller holds the lock:
    several processes that make a store at once would leave an unusable file.
    """
    try:
        empty = _empty_database()
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        _migrate(path)
        return
    with atomic_write(path) as temporary:
        shutil.copyfile(empty, temporary)


def _empty_database() -> Path:
    """Return the user's empty SQLite store of this version of MLflow, which is made where there is no whole one.

    Raises:
        OSError: it cannot be written.
    """
    import mlflow

    cache = Path(os.environ.get(CACHE_VARIABLE) or Path("~/.cache").expanduser())
    path = cache / "lenet-lab" / f"mlflow-{mlflow.__version__}.db"
    with locked(_lock(path)):
        if not _is_whole(path):
            _migrate(path)
    return path


def _is_whole(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("select version_num from alembic_version").fetchone()
            return bool(connection.execute("pragma integrity_check").fetchone() == ("ok",))
    except sqlite3.Error:  # missing, or damaged
        return False


def _migrate(path: Path) -> None:
    """Have MLflow make an empty store, under a temporary name: one whose process is killed on the way is unusable."""
    import mlflow

    for left in path.parent.glob(f".{path.name}.*{TEMPORARY_SUFFIX}*"):  # by a killed process
        left.unlink(missing_ok=True)
    with atomic_write(path) as temporary:
        mlflow.MlflowClient(f"{SQLITE}{temporary}").search_experiments(max_results=1)
        with closing(sqlite3.connect(temporary)) as connection:
            connection.execute("delete from experiments")  # MLflow's Default is made anew, for each home its own
            connection.commit()
            connection.execute("pragma journal_mode=wal")  # readers beside a writer; the file keeps the setting


def follow_home(project: Project, uri: str) -> None:
    """Correct the artifact paths of an SQLite store in a home that was moved; does not import mlflow."""
    path = database_path(uri)
    if path is None or not path.is_file() or not path.is_relative_to(project.home):
        return
    (path.parent / ARTIFACTS).mkdir(exist_ok=True)
    try:
        relocate(path, _lock(path))
    except sqlite3.Error:  # damaged, busy, or of another version of MLflow, whose own message is better
        return


def experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """Return an experiment's id; it is created or restored where needed. Artifacts of an SQLite store lie beside it."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        path = database_path(uri)
        location = (path.parent / ARTIFACTS / name).as_uri() if path else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # created by another process in the meantime, or refused
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
