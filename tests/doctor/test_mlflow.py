from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from doctored import STUDY, Sample, change, flip, lenet, levels

from lenet.core.file_lock import locked
from lenet.doctor.finding import Level
from lenet.doctor.mlflow import check_mlflow
from lenet.doctor.searches import check_searches

PAGE = 4096


def tear(path: Path) -> None:
    """Overwrite the head of a page in the middle, as a lost write does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    content = bytearray(path.read_bytes())
    start = len(content) // PAGE // 2 * PAGE
    content[start : start + 64] = b"\xff" * 64
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("damage", [tear, cut])
def test_damaged_store_and_the_remedy(sample: Sample, damage: Callable[[Path], None]) -> None:
    damage(sample.database)
    (found,) = check_mlflow(sample.project)
    assert found.level == Level.PROBLEM
    assert found.remedy.startswith(f"mv {sample.database} {sample.database}.damaged")
    done = lenet(sample.root, "doctor")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    for path in sample.root.glob("mlflow.db*"):
        path.unlink()
    (found,) = check_mlflow(sample.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet sync")
    assert lenet(sample.root, "sync").returncode == 0
    assert levels(check_mlflow(sample.project)) == [Level.OK]


def test_store_is_read_while_others_write(sample: Sample) -> None:
    with closing(sqlite3.connect(sample.database)) as connection:
        connection.execute("begin immediate")
        connection.execute("update runs set name = 'x'")
        assert levels(check_mlflow(sample.project)) == [Level.OK]
        connection.rollback()


def test_server_that_does_not_answer(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")
    (found,) = check_mlflow(sample.project)
    assert found.level == Level.PROBLEM
    assert "http://somebody@127.0.0.1:9 does not answer" in found.text


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("update runs set lifecycle_stage = 'deleted' where name = 'lenet5 seed=1'", "all of it"),
        ("update runs set status = 'RUNNING' where name = 'lenet5 seed=1'", "status"),
        ("update params set value = '9' where key = 'trainer.threads' and value = '1'", "parameter trainer.threads"),
    ],
)
def test_run_that_mlflow_shows_otherwise_and_the_remedy(sample: Sample, statement: str, words: str) -> None:
    change(sample.database, statement)
    found = check_mlflow(sample.project)
    assert {(one.level, one.remedy) for one in found} == {(Level.WARNING, "lenet sync")}
    assert f"run {sample.runs[0].short} differs in MLflow: {words}" in {one.text for one in found}
    assert lenet(sample.root, "sync").returncode == 0
    assert levels(check_mlflow(sample.project)) == [Level.OK]


def test_killed_run_is_not_shown_as_such_until_synced(sample: Sample) -> None:
    run = sample.runs[0]
    run.write("status.json", run.status() | {"state": "RUNNING"})
    with locked(run.lock):
        assert levels(check_mlflow(sample.project)) == [Level.OK]
    (found,) = check_mlflow(sample.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet sync")


def test_search_that_mlflow_does_not_show(sample: Sample) -> None:
    change(sample.database, "update runs set lifecycle_stage = 'deleted' where name like 'search %'")
    (found,) = check_mlflow(sample.project)
    assert (found.level, found.remedy, STUDY in found.text) == (Level.WARNING, "lenet sync", True)


@pytest.mark.parametrize("damage", [tear, cut])
def test_damaged_database_of_studies(sample: Sample, damage: Callable[[Path], None]) -> None:
    assert levels(check_searches(sample.project)) == [Level.OK]
    damage(sample.root / "searches/optuna.db")
    (found,) = check_searches(sample.project)
    assert found.level == Level.PROBLEM
    assert "lenet search" in found.remedy


def test_damaged_search(sample: Sample) -> None:
    flip(sample.root / "searches" / STUDY / "search.json")
    (found,) = check_searches(sample.project)
    assert found.level == Level.PROBLEM
    assert f"searches/{STUDY}/search.json" in found.text
