"""Writing to one experiment of MLflow: a run is looked up, compared part by part, and sent what it lacks.

What is there is never taken to be whole: its sender may have been killed, or cut off, at any point.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.runs.run_dir import RUNNING
from lenet.tracking.run_content import Actual, Content, DataSet, Desired, Difference, Point, compare, digest
from lenet.tracking.sqlite_store import CONTEXT, delete_wrong, find_runs, read_run, reading
from lenet.tracking.store_errors import database_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

UPLOADING = ".artifact.uploading.*"
"""MLflow's temporary files beside its artifacts; a killed process leaves them."""


class RunWriter:
    """Finds and writes runs of one experiment.

    Args:
        client: the store's.
        uri: the store.
        experiment_id: the experiment.
        home: the project's home; from a database elsewhere, which others may share, nothing is deleted.
    """

    def __init__(self, client: MlflowClient, uri: str, experiment_id: str, home: Path) -> None:
        self._client = client
        self._experiment_id = experiment_id
        self._database = database_path(uri)
        self._own_database = self._database if self._database and self._database.is_relative_to(home) else None

    def find(self, desired: Desired) -> Actual | None:
        """Return what the store holds of a run, or None. Of several, which retried requests leave, the oldest stays.

        Raises:
            MlflowException, LenetError: the store is away, refuses, or cannot be read.
        """
        if self._database is not None:
            with reading(self._database) as connection:
                ids = find_runs(connection, desired.key, self._experiment_id)
                actual = read_run(connection, self._database, ids[0]) if ids else None
        else:
            name, value = desired.key
            query = f"tags.`{name}` = '{value}'"
            runs = self._client.search_runs([self._experiment_id], query, order_by=["start_time ASC"])
            ids = [run.info.run_id for run in runs]
            actual = self._described(runs[0], desired) if runs else None
        for run_id in ids[1:]:
            self._client.delete_run(run_id)
        return actual

    def _described(self, run: Run, desired: Desired) -> Actual:
        """Return what a server says of a run; histories are requested for the desired metrics that it has."""
        inputs = run.inputs.dataset_inputs if run.inputs else []
        contexts = [(one.dataset, {tag.key: tag.value for tag in one.tags}.get(CONTEXT, "")) for one in inputs]
        actual = Actual(
            run_id=run.info.run_id,
            experiment_id=str(run.info.experiment_id),
            status=run.info.status,
            end_time=run.info.end_time,
            params=dict(run.data.params),
            tags=dict(run.data.tags),
            datasets={DataSet(dataset.name, dataset.digest, context) for dataset, context in contexts},
        )
        for metric in {point.name for point in desired.points} & set(run.data.metrics):
            history = self._client.get_metric_history(actual.run_id, metric)
            actual.points[metric] = [Point(one.key, one.step, one.value, one.timestamp) for one in history]
        return actual

    def write(self, desired: Desired, actual: Actual | None) -> Actual:
        """Send what a run lacks; it is created where there is none.

        Args:
            desired: what it is to hold.
            actual: what `find` or this method returned last; it is updated with each part that arrived.

        Raises:
            MlflowException, OSError, LenetError: the store is away or refuses; `find` says what arrived.
        """
        actual = actual or self._create(desired)
        difference = compare(desired, actual, is_exact=self._own_database is not None)
        if self._own_database is not None and (difference.wrong_params or difference.wrong_metrics):
            delete_wrong(self._own_database, actual.run_id, difference)
        self._send_batch(actual, difference)
        for name in difference.wrong_tags:
            self._client.delete_tag(actual.run_id, name)
            del actual.tags[name]
        self._send_datasets(desired, actual, difference.datasets)
        self._send_artifacts(desired, actual, difference.artifacts)
        if difference.has_status:  # last: a run that is shown as finished is whole
            self._set_status(desired, actual)
        return actual

    def _create(self, desired: Desired) -> Actual:
        made = self._client.create_run(
            self._experiment_id, start_time=desired.start_time, tags=dict(desired.tags), run_name=desired.name
        )
        # A request that was answered too late may have been sent twice.
        return self.find(desired) or self._described(made, desired)

    def _send_batch(self, actual: Actual, difference: Difference) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if not (difference.params or difference.points or difference.tags):
            return
        self._client.log_batch(
            actual.run_id,
            metrics=[Metric(point.name, point.value, point.timestamp, point.step) for point in difference.points],
            params=[Param(name, value) for name, value in difference.params.items()],
            tags=[RunTag(name, value) for name, value in difference.tags.items()],
        )
        actual.params |= difference.params
        actual.tags |= difference.tags
        for name in difference.wrong_metrics:
            actual.points.pop(name, None)
        for point in difference.points:
            actual.points.setdefault(point.name, []).append(point)

    def _send_datasets(self, desired: Desired, actual: Actual, missing: Sequence[DataSet]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if not missing:
            return
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
        if actual.artifacts is not None:
            for left in actual.artifacts.rglob(UPLOADING):  # by a killed process: a live one holds the lock
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
        if desired.status == RUNNING:
            self._client.update_run(actual.run_id, status=RUNNING)
        else:
            self._client.set_terminated(actual.run_id, status=desired.status, end_time=desired.end_time)
        actual.status, actual.end_time = desired.status, desired.end_time
