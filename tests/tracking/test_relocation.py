from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lenet.tracking.relocation import current_uri, relocate

SCHEMA = """
create table experiments (name text, artifact_location text);
create table runs (artifact_uri text);
create table logged_models (artifact_location text);
create table model_versions (source text, storage_location text);
"""


def test_paths_of_the_old_home_alone_are_moved(tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").mkdir()
    old, new = "file:///old/home/mlartifacts", (tmp_path / "mlartifacts").as_uri()
    kept = ["file:///old/home/mlartifacts2/x", "s3://bucket/file:///old/home/mlartifacts/x"]
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executescript(SCHEMA)
        connection.execute("insert into experiments values ('mnist', ?)", (f"{old}/mnist",))
        connection.executemany(
            "insert into runs values (?)", [(f"{old}/mnist/1/artifacts",), *((one,) for one in kept)]
        )
    relocate(database, tmp_path / "lock")
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select artifact_location from experiments").fetchall() == [(f"{new}/mnist",)]
        found = [uri for (uri,) in connection.execute("select artifact_uri from runs order by rowid")]
    assert found == [f"{new}/mnist/1/artifacts", *kept]
    assert current_uri(f"{old}/a", {old: new}) == f"{new}/a"
    assert current_uri(kept[0], {old: new}) == kept[0]
