"""Bringing a run of MLflow to hold what it is to hold: it is looked for, compared part by part, and sent what it lacks.

What is there is never taken for whole because it is there: whoever sent it may have been killed, or cut off, at any
point. An SQLite store is read by SQL, at no cost; of a server the run is asked for once, and what is known of its
artifacts stands in the folder's record, artifact by artifact.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.tracking.run_content import Actual, Content, DataSet, Desired, Difference, Point, compare, digest
from lenet.tracking.sqlite_rows import CONTEXT, find_runs, read_run, reading, take_away
from lenet.tracking.store import database_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

UPLOADING = ".artifact.uploading.*"
"""What MLflow calls a file while it copies it beside its artifacts; one that is killed at it leaves it there."""

OPEN = "RUNNING"


class Reconciler:
    """Brings runs of one experiment to what they are to be.

    Args:
        client: the store's.
        uri: the store.
        experiment_id: the experiment.
        home: the project's home; in a database elsewhere, which others may share, nothing is taken away.
    """

    def __init__(self, client: MlflowClient, uri: str, experiment_id: str, home: Path) -> None:
        self._client = client
        self._uri = uri
        self._experiment_id = experiment_id
        self._database = database_path(uri)
        self._own = self._database if self._database is not None and self._database.is_relative_to(home) else None

    def find(self, desired: Desired) -> Actual | None:
        """Return what the store holds of a run, or None; of several, which late answers leave, the oldest stays."""
        if self._database is not None:
            try:
                with reading(self._database) as connection:
                    ids = find_runs(connection, *desired.key, self._experiment_id)
                    found = read_run(connection, self._database, ids[0]) if ids else None
            except sqlite3.Error:
                pass
            else:
                self._delete(ids[1:])
                return found
        return self._ask(desired)

    def bring(self, desired: Desired, actual: Actual | None) -> Actual:
        """Bring a run to what it is to be; it is created where there is none.

        Args:
            desired: what it is to hold.
            actual: what `find`, or this method, last said it holds; it is kept up to date with each answer.

        Raises:
            MlflowException, OSError: the store is away or refuses; what arrived is not known then.
        """
        actual = actual or self._create(desired)
        found = compare(desired, actual, self._own is not None)
        if found.is_wrong and self._own is not None:
            take_away(self._own, actual.run_id, found)
        self._send_batch(actual, found)
        for name in found.extra_tags:
            self._client.delete_tag(actual.run_id, name)
            del actual.tags[name]
        if found.datasets:
            self._send_datasets(desired, actual, found.datasets)
        self._send_artifacts(desired, actual, found.artifacts)
        if found.has_status:  # last: what is shown as finished is whole
            self._set_status(desired, actual)
        return actual

    def _delete(self, runs: Sequence[str]) -> None:
        for run_id in runs:
            self._client.delete_run(run_id)

    def _ask(self, desired: Desired) -> Actual | None:
        """Ask the store by its own interface: once for the run, and once for each metric that it holds."""
        name, value = desired.key
        query = f"tags.`{name}` = '{value}'"
        runs = self._client.search_runs([self._experiment_id], query, order_by=["start_time ASC"])
        if not runs:
            return None
        self._delete([run.info.run_id for run in runs[1:]])
        actual = _described(runs[0])
        for metric in {point.name for point in desired.points} & set(runs[0].data.metrics):
            history = self._client.get_metric_history(actual.run_id, metric)
            actual.points[metric] = [Point(one.key, one.step, one.value, one.timestamp) for one in history]
        return actual

    def _create(self, desired: Desired) -> Actual:
        made = self._client.create_run(
            self._experiment_id,
            start_time=desired.start_time,
            tags=dict(desired.tags),
            run_name=desired.name,
        )
        found = self.find(desired)  # a create that was answered too late may have been asked twice
        return found or _described(made)

    def _send_batch(self, actual: Actual, found: Difference) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if not (found.params or found.points or found.tags):
            return
        self._client.log_batch(
            actual.run_id,
            metrics=[Metric(point.name, point.value, point.timestamp, point.step) for point in found.points],
            params=[Param(name, value) for name, value in found.params.items()],
            tags=[RunTag(name, value) for name, value in found.tags.items()],
        )
        actual.params |= found.params
        actual.tags |= found.tags
        for name in found.wrong_metrics:
            actual.points.pop(name, None)
        for point in found.points:
            actual.points.setdefault(point.name, []).append(point)

    def _send_datasets(self, desired: Desired, actual: Actual, missing: Sequence[DataSet]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(name=one.name, digest=one.digest, source_type="local", source=desired.datasets[one]),
                tags=[InputTag(CONTEXT, one.context)],
            )
            for one in missing
        ]
        self._client.log_inputs(actual.run_id, datasets=inputs)
        actual.datasets.update(missing)

    def _send_artifacts(self, desired: Desired, actual: Actual, missing: Sequence[str]) -> None:
        if actual.artifacts is not None and actual.artifacts.is_dir():
            for left in actual.artifacts.rglob(UPLOADING):  # by one that was killed: whoever sends holds a lock
                left.unlink(missing_ok=True)
        for name in missing:
            content = desired.artifacts[name]
            actual.sent[name] = digest(content)
            self._upload(actual.run_id, name, content)

    def _upload(self, run_id: str, name: str, content: Content) -> None:
        path = Path(name)
        folder = None if path.parent == Path() else path.parent.as_posix()
        if isinstance(content, Path):
            self._client.log_artifact(run_id, str(content), folder)
            return
        with tempfile.TemporaryDirectory() as temporary:
            (Path(temporary) / path.name).write_bytes(content)
            self._client.log_artifact(run_id, str(Path(temporary) / path.name), folder)

    def _set_status(self, desired: Desired, actual: Actual) -> None:
        if desired.status == OPEN:
            self._client.update_run(actual.run_id, status=OPEN)
        else:
            self._client.set_terminated(actual.run_id, status=desired.status, end_time=desired.end_time)
        actual.status, actual.end_time = desired.status, desired.end_time


def _described(run: Run) -> Actual:
    """Return what a run says of itself at once; its metrics' histories are asked for one by one."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    tags = [(one.dataset, {tag.key: tag.value for tag in one.tags}) for one in inputs]
    return Actual(
        run_id=run.info.run_id,
        experiment_id=str(run.info.experiment_id),
        status=run.info.status,
        end_time=run.info.end_time,
        params=dict(run.data.params),
        tags=dict(run.data.tags),
        datasets={DataSet(dataset.name, dataset.digest, named.get(CONTEXT, "")) for dataset, named in tags},
    )
