"""Bring an MLflow store up to date with the directories of runs and searches; nothing is sent twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lenet.core.errors import LenetError
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.runs.run_dir import RunDir
from lenet.tracking.entities import TrackedRun
from lenet.tracking.run_content import Actual, Desired, compare
from lenet.tracking.run_ref import MlflowRunRef, SyncRecord, read_record, write_record
from lenet.tracking.search_sync import SEARCHES, STUDY_TAG, TrackedSearch
from lenet.tracking.sqlite_store import find_runs, read_run, reading
from lenet.tracking.store import experiment_id, open_store
from lenet.tracking.store_errors import database_path, set_http_defaults

if TYPE_CHECKING:
    from lenet.tracking.run_writer import RunWriter

LOCK = "projection.lock"


class Tracked(Protocol):
    """A run or a search that MLflow shows."""

    @property
    def folder(self) -> Path:
        """Where it lies."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def is_busy(self) -> bool:
        """Whether a process works at it, which keeps MLflow up to date itself."""

    def identity(self) -> Mapping[str, Any]:
        """Return what was requested, with the store and the experiment in it."""

    def content(self) -> Desired:
        """Return what MLflow is to hold of it."""


def is_up_to_date(run: RunDir, uri: str) -> bool:
    """Say whether a store shows all of a run; see `differences`."""
    return not differences(TrackedRun(run), uri)


def differences(tracked: Tracked, uri: str) -> list[str]:
    """Return what a store shows otherwise than it is, such as `metric val/error`; does not import mlflow.

    An SQLite store is compared; for a server it is known only whether all of it was sent.

    Raises:
        DamagedError: a file of the run or the search is damaged.
    """
    desired = tracked.content()  # first: nothing damaged counts as up to date
    record, path = read_record(tracked.folder, uri), database_path(uri)
    if record is None:
        return ["all of it"]
    if path is None:
        return [] if record.token == desired.digest() else ["what is new"]
    try:
        with reading(path) as connection:
            actual = read_run(connection, path, record.run_id)
            if actual is None:
                return ["all of it"]
            if desired.study is not None:
                parents = find_runs(connection, (STUDY_TAG, desired.study), actual.experiment_id)
                if not parents:
                    return ["its search"]
                desired = desired.nested_in(parents[0])
    except LenetError:  # sending it says why
        return ["all of it"]
    actual.sent = dict(record.artifacts)
    return compare(desired, actual, is_exact=path.is_relative_to(tracked.folder.parents[1])).names()


class RunSync:
    """Sends runs and searches to one experiment of one store. Not for several threads at once.

    Args:
        project: where they lie.
        uri: the store.
        experiment: name of the MLflow experiment.
    """

    def __init__(self, project: Project, uri: str, experiment: str) -> None:
        self._project = project
        self._uri = uri
        self._experiment = experiment
        self._is_database = database_path(uri) is not None
        self._writer: RunWriter | None = None
        self._known: dict[Path, Actual] = {}
        """What a server holds, by the directory: no request at each epoch. An SQLite store is compared each time."""
        self._parents: dict[str, str] = {}

    def prepare(self) -> None:
        """Import MLflow and open an SQLite store, before there is something to send; a server is not asked.

        Raises:
            MlflowException, LenetError: the store cannot be opened.
        """
        set_http_defaults()
        import lenet.tracking.mlflow_import  # noqa: F401

        if self._is_database:
            self.connect()

    def connect(self) -> RunWriter:
        """Open the store and its experiment, which is created where there is none; raises as `send`."""
        if self._writer is None:
            from lenet.tracking.run_writer import RunWriter

            client = open_store(self._project, self._uri)
            experiment = experiment_id(client, self._uri, self._experiment)
            self._writer = RunWriter(client, self._uri, experiment, self._project.home)
        return self._writer

    def send(self, run: RunDir) -> MlflowRunRef:
        """Bring the store up to date with a run.

        Raises:
            MlflowException, OSError, LenetError: the store is away or refuses; sending again goes on from there.
        """
        return self.send_tracked(TrackedRun(run))

    def send_search(self, folder: Path) -> MlflowRunRef:
        """Bring the store up to date with a search; raises as `send`."""
        return self.send_tracked(TrackedSearch(folder))

    def send_tracked(self, tracked: Tracked) -> MlflowRunRef:
        """Bring the store up to date with a run or a search; raises as `send`."""
        writer = self.connect()
        with locked(tracked.folder / LOCK):
            desired = tracked.content()
            token = "" if self._is_database else desired.digest()
            if desired.study is not None:
                desired = desired.nested_in(self._parent(writer, desired.study))
            actual = self._known.pop(tracked.folder, None)  # none after a failure: the store says what arrived
            if actual is None:
                actual, record = writer.find(desired), read_record(tracked.folder, self._uri)
                if actual is not None and record is not None and record.run_id == actual.run_id:
                    actual.sent = dict(record.artifacts)
            actual = writer.write(desired, actual)
            record = SyncRecord(actual.experiment_id, actual.run_id, token, actual.sent)
            write_record(tracked.folder, self._uri, record)
            if not self._is_database:
                self._known[tracked.folder] = actual
        return MlflowRunRef(self._uri, actual.experiment_id, actual.run_id)

    def _parent(self, writer: RunWriter, study: str) -> str:
        """Return the id of a search's run, which is created where there is none."""
        if study not in self._parents or self._is_database:
            search = TrackedSearch(self._project.home / SEARCHES / study)
            with locked(search.folder / LOCK):
                found = writer.find(search.outline()) or writer.write(search.outline(), None)
            self._parents[study] = found.run_id
        return self._parents[study]
