"""The SQLite files: MLflow's store and the studies."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from damage import flip, levels
from house import House, lenet

from lenet.doctor.finding import Level
from lenet.doctor.mlflow_runs import check_shown
from lenet.doctor.searches import check_studies
from lenet.doctor.store import check_store

PAGE = 4096


def tear(path: Path) -> None:
    """Overwrite the head of a page in the middle, as a disk does that loses a write."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    content = bytearray(path.read_bytes())
    start = len(content) // PAGE // 2 * PAGE
    content[start : start + 64] = b"\xff" * 64
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("harm", [tear, cut])
def test_a_damaged_store_and_the_remedy(house: House, harm: object) -> None:
    assert callable(harm)
    harm(house.database)
    (found,) = check_store(house.project)
    assert found.level == Level.PROBLEM
    assert "SQLite finds it damaged" in found.text
    assert found.remedy.startswith(f"mv {house.database} {house.database}.damaged")
    for path in house.root.glob("mlflow.db*"):
        path.unlink()
    assert lenet(house.root, "sync").returncode == 0
    assert levels(check_store(house.project)) == [Level.OK]
    assert levels(check_shown(house.project)) == [Level.OK]


def test_a_store_without_a_write_ahead_log_and_the_remedy(house: House) -> None:
    with closing(sqlite3.connect(house.database)) as connection:
        connection.execute("pragma journal_mode=delete")
    (found,) = check_store(house.project)
    assert found.level == Level.WARNING
    assert found.remedy == f"sqlite3 {house.database} 'pragma journal_mode=wal'"
    with closing(sqlite3.connect(house.database)) as connection:
        connection.execute("pragma journal_mode=wal")
    assert levels(check_store(house.project)) == [Level.OK]


def test_a_store_that_is_gone_or_another_file(house: House) -> None:
    for path in house.root.glob("mlflow.db*"):
        path.unlink()
    (found,) = check_store(house.project)
    assert found.level == Level.WARNING
    assert found.text.endswith("there is none, and 2 runs to show")
    with closing(sqlite3.connect(house.database)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table notes (line text)")
    (found,) = check_store(house.project)
    assert found.level == Level.PROBLEM
    assert found.text.endswith("is no store of MLflow's")


def test_a_store_that_others_write_to_is_read_all_the_same(house: House) -> None:
    with closing(sqlite3.connect(house.database)) as connection:
        connection.execute("begin immediate")
        connection.execute("update runs set name = 'x'")
        assert levels(check_store(house.project)) == [Level.OK]
        connection.rollback()


def test_a_server_that_does_not_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")
    (found,) = check_store(house.project)
    assert found.level == Level.PROBLEM
    assert "does not answer" in found.text
    assert "secret" not in found.text
    runs, searches = check_shown(house.project)
    assert [(one.level, one.remedy) for one in (runs, searches)] == [(Level.WARNING, "lenet sync")] * 2


@pytest.mark.parametrize("harm", [tear, cut])
def test_a_damaged_database_of_studies(house: House, harm: object) -> None:
    assert callable(harm)
    assert levels(check_studies(house.project)) == [Level.OK]
    harm(house.root / "searches/optuna.db")
    (found,) = check_studies(house.project)
    assert found.level == Level.PROBLEM
    assert "lenet search" in found.remedy


def test_a_damaged_search(house: House) -> None:
    flip(house.root / "searches/tiny-0123/search.json")
    (found,) = check_studies(house.project)
    assert (found.level, found.text) == (
        Level.PROBLEM,
        "searches/tiny-0123/search.json: is damaged or another search's",
    )


def test_a_damaged_store_is_no_crash(house: House) -> None:
    cut(house.database)
    done = lenet(house.root, "doctor")
    assert done.returncode == 1
    assert "problem  mlflow store" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
