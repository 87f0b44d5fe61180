"""A project, its MLflow store, and what tests do with both."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from lenet.config.schema import Config
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store import open_store, tracking_uri

EXPERIMENT = "lenet5"
METRICS = {"train/loss", "train/error", "val/loss", "val/error", "learning_rate", "seconds", "images_per_second"}


class Lab:
    """A project with a store."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.uri = tracking_uri(project)
        self.database = project.home / "mlflow.db"
        self.digest = training_digest(project.prepared("tiny"))

    def sync(self) -> RunSync:
        """Another one each time, as another process has."""
        return RunSync(self.project, self.uri, EXPERIMENT)

    def train(self, config: Config, on_change: Callable[[RunDir], Any] = lambda run: None) -> RunDir:
        metadata = RunMetadata("tiny seed=1", "a sweep", ("seed=1",))
        return get_or_train(self.project, config, self.digest, metadata, on_change).run_dir

    def client(self) -> Any:
        return open_store(self.project, self.uri)

    def runs(self, deleted: bool = False) -> list[Any]:
        from mlflow.entities import ViewType

        client = self.client()
        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        return list(client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id], run_view_type=view))

    def points(self, run_id: str) -> Counter[tuple[str, int]]:
        """How often each metric was logged at each step."""
        client = self.client()
        names = client.get_run(run_id).data.metrics
        return Counter((name, point.step) for name in names for point in client.get_metric_history(run_id, name))

    def artifacts(self, run_id: str) -> dict[str, bytes]:
        folder = self.project.home / "mlartifacts" / EXPERIMENT / run_id / "artifacts"
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def execute(self, *statements: str) -> None:
        """Change rows of the store without MLflow."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            for statement in statements:
                connection.execute(statement)


def expected_points(epochs: int) -> Counter[tuple[str, int]]:
    return Counter((name, step) for name in METRICS for step in range(1, epochs + 1))


def rows(database: Path) -> dict[str, list[Any]]:
    queries = {
        "metrics": "select key, step, value, timestamp from metrics order by 1, 2",
        "latest": "select key, step, value, timestamp from latest_metrics order by 1, 2",
        "params": "select key, value from params order by 1",
        "tags": "select key, value from tags order by 1",
        "runs": "select run_uuid, status, end_time, lifecycle_stage from runs",
        "inputs": "select d.name, d.digest from inputs i join datasets d on d.dataset_uuid = i.source_id",
    }
    with closing(sqlite3.connect(database)) as connection:
        return {name: connection.execute(query).fetchall() for name, query in queries.items()}
