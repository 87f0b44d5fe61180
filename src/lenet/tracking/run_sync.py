"""MLflow as a projection of the run folders: whatever a folder holds and the store lacks is sent, nothing twice."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.core.atomic_io import canonical_json, sha256_bytes, sha256_file
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.runs.run_dir import RunDir
from lenet.tracking.entities import MODEL_CARD, PLOTS, desired_run, evaluation
from lenet.tracking.run_content import Actual, Difference, compare
from lenet.tracking.run_ref import MlflowRunRef, record_run_ref, recorded_artifacts, recorded_run_ref
from lenet.tracking.search_sync import SEARCHES, STUDY_TAG, ensure_parent, send_search, study_of
from lenet.tracking.sqlite_rows import find_runs, read_run, reading
from lenet.tracking.store import SQLITE, database_path, experiment_id, open_store, set_http_defaults

if TYPE_CHECKING:
    from lenet.tracking.reconcile import Reconciler


def token(folder: RunDir) -> str:
    """Return a digest of all that is projected of a folder, to see whether a server was sent it.

    Raises:
        DamagedError: one of its files is damaged or another run's.
    """
    folder.check_config()
    plots = sorted((folder.path / PLOTS).glob("*.png"))
    seen = [folder.identity(), folder.status(), folder.state(), folder.history(), evaluation(folder)]
    card = folder.path / MODEL_CARD
    cards = [sha256_file(card)] if card.is_file() else []
    return sha256_bytes(canonical_json([seen, [[path.name, path.stat().st_size] for path in plots], *cards]).encode())


def is_up_to_date(folder: RunDir, uri: str) -> bool:
    """Say, without importing mlflow, whether a store shows all of the folder: an SQLite store, or was sent it.

    Raises:
        DamagedError: a file of the folder is damaged.
    """
    now = token(folder)  # first: what is damaged is not sent, wherever it has been shown before
    place, known = recorded_run_ref(folder, uri)
    path = database_path(uri)
    if place is None:
        return False
    if path is not None:
        try:
            found = run_difference(folder, path, place.run_id)
        except sqlite3.Error:  # busy, or of another version of mlflow: it cannot be looked into
            pass
        else:
            return found is not None and not found
    return known == now


def run_difference(folder: RunDir, path: Path, run_id: str) -> Difference | None:
    """Return how a folder and its run in an SQLite store differ, or None where that has no such run.

    Args:
        folder: the run.
        path: the store's file.
        run_id: the run's id there.

    Raises:
        DamagedError: a file of the folder is damaged.
        sqlite3.Error: the file cannot be read, or is no store that is known here.
    """
    if not path.is_file():
        return None
    study = study_of(folder.identity()["sweeps"])
    with reading(path) as connection:
        actual = read_run(connection, path, run_id)
        if actual is None:
            return None
        parents = [] if study is None else find_runs(connection, STUDY_TAG, study, actual.experiment_id)
    if study is not None and not parents:
        return None
    actual.sent = recorded_artifacts(folder, MlflowRunRef(f"{SQLITE}{path}", actual.experiment_id, run_id))
    return compare(
        desired_run(folder, parents[0] if parents else None), actual, is_exact=path.is_relative_to(folder.home)
    )


class RunSync:
    """Sends run folders to one store. Not for several threads at once.

    Args:
        project: where the folders are.
        uri: the store.
        experiment: name of the MLflow experiment.
    """

    def __init__(self, project: Project, uri: str, experiment: str) -> None:
        self._project = project
        self._uri = uri
        self._experiment = experiment
        self._reconciler: Reconciler | None = None
        self._known: dict[str, Actual] = {}
        self._parents: dict[str, str] = {}

    def warm(self) -> None:
        """Import MLflow and open an SQLite store: seconds of Python that a training beside them would pay for.

        Two threads of Python share one interpreter, so a training's first epoch takes longer by as much as it overlaps.
        A server is not waited for here.

        Raises:
            MlflowException, LenetError: the store cannot be opened.
        """
        set_http_defaults()
        import mlflow  # noqa: F401

        if database_path(self._uri) is not None:
            self._connect()

    def connect(self) -> None:
        """Open the store and its experiment, made where it is not there; raises as `send`."""
        self._connect()

    def send(self, folder: RunDir) -> MlflowRunRef:
        """Bring the store up to date with a folder; what it holds already is not sent again.

        Raises:
            MlflowException, OSError: the store is away or refuses; sending again later goes on where this ended.
        """
        reconciler = self._connect()
        with locked(folder.path / "projection.lock"):
            # What arrived of a send that fails is not known: the store is asked next time.
            actual = self._known.pop(folder.fingerprint, None)
            actual = self._send(reconciler, folder, actual)
            if database_path(self._uri) is None:  # any other is looked into each time
                self._known[folder.fingerprint] = actual
        return MlflowRunRef(self._uri, actual.experiment_id, actual.run_id)

    def send_search(self, folder: Path) -> str:
        """Bring the store up to date with a search's folder, and return the id of its run; raises as `send`."""
        return send_search(self._connect(), self._uri, folder)

    def _connect(self) -> Reconciler:
        if self._reconciler is None:
            from lenet.tracking.reconcile import Reconciler

            client = open_store(self._project, self._uri)
            experiment = experiment_id(client, self._project, self._uri, self._experiment)
            self._reconciler = Reconciler(client, self._uri, experiment, self._project.home)
        return self._reconciler

    def _send(self, reconciler: Reconciler, folder: RunDir, actual: Actual | None) -> Actual:
        now = token(folder)
        desired = desired_run(folder, self._parent(reconciler, folder))
        if actual is None:
            actual = reconciler.find(desired)
            if actual is not None:
                actual.sent = recorded_artifacts(folder, MlflowRunRef(self._uri, actual.experiment_id, actual.run_id))
        actual = reconciler.bring(desired, actual)
        record_run_ref(folder, MlflowRunRef(self._uri, actual.experiment_id, actual.run_id), now, actual.sent)
        return actual

    def _parent(self, reconciler: Reconciler, folder: RunDir) -> str | None:
        study = study_of(folder.identity()["sweeps"])
        if study is None:
            return None
        if study not in self._parents or database_path(self._uri) is not None:
            self._parents[study] = ensure_parent(reconciler, self._project.home / SEARCHES / study)
        return self._parents[study]
