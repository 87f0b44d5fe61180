"""Runs as an SQLite store has them, read without the seconds that importing mlflow takes, and what is wrong taken away.

MLflow can neither take a parameter or a point back nor move an artifact's path: what is written here by SQL has no
other way. Only the tables of MLflow 3 that are named here are touched, each time in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lenet.core.errors import LenetError
from lenet.tracking.relocation import here, moved_roots
from lenet.tracking.run_content import Actual, DataSet, Difference, Point
from lenet.tracking.store import BUSY_SECONDS
from lenet.tracking.uris import local_path

CONTEXT = "mlflow.data.context"
WAIT_SECONDS = 60.0
"""A writer waits so long for the others."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that cannot write, for one moment of the store; raises sqlite3.Error where it is no store."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        connection.execute("begin")
        yield connection


def find_runs(connection: sqlite3.Connection, tag: str, value: str, experiment_id: str) -> list[str]:
    """Return the ids of an experiment's runs with a tag that are not deleted, oldest first."""
    rows = connection.execute(
        "select r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid where t.key = ? and t.value = ?"
        " and r.experiment_id = ? and r.lifecycle_stage = 'active' order by r.start_time, r.rowid",
        (tag, value, int(experiment_id)),
    )
    return [run_id for (run_id,) in rows]


def read_run(connection: sqlite3.Connection, path: Path, run_id: str) -> Actual | None:
    """Return what a run holds, or None where there is none or it is deleted.

    Args:
        connection: as `reading` gives it.
        path: the store's file.
        run_id: the run.
    """
    row = connection.execute(
        "select r.status, r.end_time, r.experiment_id, r.artifact_uri from runs r join experiments e"
        " on e.experiment_id = r.experiment_id"
        " where r.run_uuid = ? and r.lifecycle_stage = 'active' and e.lifecycle_stage = 'active'",
        (run_id,),
    ).fetchone()
    if row is None:
        return None
    status, end_time, experiment_id, artifact_uri = row
    found = Actual(run_id, str(experiment_id), status, end_time, latest={})
    found.params.update(connection.execute("select key, value from params where run_uuid = ?", (run_id,)))
    found.tags.update(connection.execute("select key, coalesce(value, '') from tags where run_uuid = ?", (run_id,)))
    query = "select key, step, value, timestamp from {} where run_uuid = ? order by step"
    for point in connection.execute(query.format("metrics"), (run_id,)):
        found.points.setdefault(point[0], []).append(Point(*point))
    found.latest = {point[0]: Point(*point) for point in connection.execute(query.format("latest_metrics"), (run_id,))}
    datasets = connection.execute(
        "select d.name, d.digest, coalesce(t.value, '') from inputs i join datasets d on d.dataset_uuid = i.source_id"
        " left join input_tags t on t.input_uuid = i.input_uuid and t.name = ?"
        " where i.destination_id = ? and i.source_type = 'DATASET' and i.destination_type = 'RUN'",
        (CONTEXT, run_id),
    )
    found.datasets.update(DataSet(*one) for one in datasets)
    found.artifacts = local_path(here(artifact_uri or "", moved_roots(connection, path)))
    return found


def take_away(path: Path, run_id: str, difference: Difference) -> None:
    """Take away what a run holds and must not, in one transaction.

    Args:
        path: the store's file.
        run_id: the run.
        difference: what `compare` found.

    Raises:
        LenetError: the file cannot be written to now.
    """
    try:
        _take_away(path, run_id, difference)
    except sqlite3.Error as error:
        raise LenetError(f"{path}: rows that are wrong cannot be taken away now ({error}); ask again") from error


def _take_away(path: Path, run_id: str, difference: Difference) -> None:
    with closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as connection, connection:
        connection.execute("begin immediate")
        params = [(run_id, name) for name in difference.wrong_params]
        connection.executemany("delete from params where run_uuid = ? and key = ?", params)
        metrics = [(run_id, name) for name in difference.wrong_metrics]
        connection.executemany("delete from metrics where run_uuid = ? and key = ?", metrics)
        connection.executemany("delete from latest_metrics where run_uuid = ? and key = ?", metrics)
        for one in difference.wrong_datasets:
            inputs = (
                "select i.input_uuid from inputs i join datasets d on d.dataset_uuid = i.source_id"
                " where i.destination_id = ? and i.source_type = 'DATASET' and i.destination_type = 'RUN'"
                " and d.name = ? and d.digest = ?"
            )
            found = connection.execute(inputs, (run_id, one.name, one.digest)).fetchall()
            connection.executemany("delete from input_tags where input_uuid = ?", found)
            connection.executemany("delete from inputs where input_uuid = ?", found)
