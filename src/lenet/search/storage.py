"""The database of studies, SQLite or PostgreSQL, and the locks of a search's processes.

On SQLite the locks are files (flock), on PostgreSQL the server's advisory locks. The kernel, or the server, releases
them when their holder dies, so the trials of a dead worker are requeued at once and not after missed heartbeats.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.config.schema import StoreUri
from lenet.config.validation import parse
from lenet.core.errors import ConfigError, LenetError
from lenet.core.file_lock import is_held, locked
from lenet.core.project import Project
from lenet.core.urls import STUDY_VARIABLE, taken_in, with_password, without_password
from lenet.tracking.search_sync import SEARCHES
from lenet.tracking.store_errors import SQLITE, database_path

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

DATABASE = "optuna.db"
POSTGRESQL = ("postgresql", "postgres")
BUSY_SECONDS = 60.0
"""How long a process waits for SQLite while others write."""

HEARTBEAT_SECONDS = 10
GRACE_SECONDS = 60
"""A trial without a heartbeat for so long is retried, even if its worker's lock is held."""

LEADER_LOCK, STUDY_LOCK = "leader", "study"
"""Names of locks: the first is held by the command that leads a search, the second while trials change hands."""


def study_url(project: Project, configured: str | None, knob: str = "search.storage") -> str:
    """Return the URL of the database without a password; a relative SQLite path is taken from the project's home.

    Args:
        project: the project.
        configured: the config's URL, if any; otherwise LENET_STUDY_STORAGE has it.
        knob: the knob's name, for the message.

    Raises:
        ConfigError: it is neither SQLite nor PostgreSQL.
    """
    if not configured:
        configured, knob = os.environ.get(STUDY_VARIABLE), STUDY_VARIABLE
    if not configured:
        return f"{SQLITE}{searches(project) / DATABASE}"
    parse(StoreUri, without_password(configured), knob)
    if configured.startswith(SQLITE):
        return f"{SQLITE}{project.home / configured.removeprefix(SQLITE)}"
    scheme = configured.partition("://")[0]
    if scheme.partition("+")[0] not in POSTGRESQL:
        raise ConfigError(f"{knob}={without_password(configured)}: must be sqlite:///… or postgresql+psycopg://…")
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigError(
            f"{knob}={without_password(configured)}: psycopg is not installed;"
            " pip install -c constraints.txt -e '.[postgresql]'"
        )
    if "+" not in scheme:
        configured = configured.replace(f"{scheme}://", "postgresql+psycopg://", 1)
    return taken_in(configured)


def searches(project: Project) -> Path:
    """Return the folder of all searches."""
    return project.home / SEARCHES


@dataclass(frozen=True)
class StudyStorage:
    """An open database of studies.

    Attributes:
        url: its URL, without a password.
        database: Optuna's storage.
        folder: the folder of the lock files of SQLite studies.
    """

    url: str
    database: RDBStorage
    folder: Path

    @contextmanager
    def lock(self, study: str, name: str) -> Iterator[None]:
        """Hold a lock of a study, waiting for another holder."""
        if database_path(self.url) is not None:
            with locked(self._file(study, name)):
                yield
            return
        with self._connection() as connection:
            self._select(connection, "select pg_advisory_lock(:study, :name)", study, name)
            yield  # the lock goes with the connection

    def try_lock(self, study: str, name: str, until: ExitStack) -> bool:
        """Take a lock until the stack is closed; say whether it was free."""
        if database_path(self.url) is not None:
            if is_held(self._file(study, name)):
                return False
            until.enter_context(locked(self._file(study, name)))
            return True
        connection = until.enter_context(self._connection())
        return bool(self._select(connection, "select pg_try_advisory_lock(:study, :name)", study, name))

    def is_locked(self, study: str, name: str) -> bool:
        """Say whether some living process holds a lock."""
        if database_path(self.url) is not None:
            return is_held(self._file(study, name))
        with ExitStack() as stack:
            return not self.try_lock(study, name, stack)

    def holder(self, study: str, name: str) -> str:
        """Return the process id of a file lock's holder, or nothing where it cannot be known."""
        path = self._file(study, name)
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    def _file(self, study: str, name: str) -> Path:
        return self.folder / study / "locks" / name

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """Give a connection outside the pool's reuse: its locks are released when it is closed."""
        connection = self.database.engine.connect()
        try:
            yield connection
        finally:
            connection.invalidate()
            connection.close()

    @staticmethod
    def _select(connection: Any, query: str, study: str, name: str) -> Any:
        from sqlalchemy import text

        return connection.execute(text(query), {"study": _key(study), "name": _key(name)}).scalar()


def _key(name: str) -> int:
    """Return a signed 32-bit number for a name, as PostgreSQL's advisory locks are named."""
    return zlib.crc32(name.encode()) - (1 << 31)


def database_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of a database that is locked, away or refuses."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return StorageInternalError, SQLAlchemyError


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Raise the errors of a database that is locked, away or refuses as a LenetError of one line."""
    try:
        yield
    except database_errors() as error:
        cause = error.__cause__ or error
        line = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise LenetError(
            f"{url}: the study's database does not answer ({without_password(line.strip())});"
            " finished trials are stored, the same command resumes the search"
        ) from error


def is_storage_error(error: BaseException) -> bool:
    """Say whether an error is the database's, or the LenetError that `storage_errors` made of it."""
    return any(isinstance(one, database_errors()) for one in (error, error.__cause__))


def open_storage(project: Project, url: str) -> StudyStorage:
    """Open a database of studies; an SQLite file is created where there is none, by one process alone.

    Raises:
        LenetError: it cannot be opened.
    """
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    folder, path = searches(project), database_path(url)
    with storage_errors(url), locked(folder / f"{DATABASE}.lock"):
        options: dict[str, Any] = {}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            options = {"connect_args": {"timeout": BUSY_SECONDS}}
            _use_write_ahead_log(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # heartbeats are experimental
            database = RDBStorage(
                with_password(url),
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True),
            )
        if path is not None:
            _spare_syncs(database)
    return StudyStorage(url, database, folder)


def _spare_syncs(database: RDBStorage) -> None:
    """Sync SQLite's log at its checkpoints and not at every commit, of which a trial makes dozens.

    A killed process loses nothing. A power cut may lose the last commits, never the file's integrity: their trials are
    run again, from the stored runs, which are synced.
    """
    from sqlalchemy import event

    def set_pragma(connection: Any, record: Any) -> None:
        connection.execute("pragma synchronous=normal")

    event.listen(database.engine, "connect", set_pragma)
    database.engine.dispose()  # connections that were opened before


def _use_write_ahead_log(path: Path) -> None:
    """Let readers and a writer work at once; the file keeps the setting."""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            connection.execute("pragma journal_mode=wal")
    except sqlite3.Error as error:
        raise LenetError(
            f"{path}: is no SQLite database that can be opened ({error}); move it away, trained runs are kept in runs/"
        ) from error
