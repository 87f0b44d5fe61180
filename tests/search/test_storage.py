from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from lenet.core.atomic_io import write_text
from lenet.core.errors import ConfigError, LenetError
from lenet.core.project import Project
from lenet.core.urls import with_password
from lenet.search import storage as storage_module
from lenet.search.spec import SearchSpec
from lenet.search.storage import LEADER_LOCK, open_storage, study_url
from lenet.search.study import SearchStudy

ReadTiny = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]


def test_only_one_leads(read_tiny: ReadTiny, open_study: Open) -> None:
    one, other = open_study(read_tiny()), open_study(read_tiny())
    with ExitStack() as stack, ExitStack() as second:
        assert one.storage.try_lock(one.name, LEADER_LOCK, stack)
        assert not other.storage.try_lock(other.name, LEADER_LOCK, second)
        stack.close()
        assert other.storage.try_lock(other.name, LEADER_LOCK, second)


def test_a_database_that_is_locked_is_one_line(
    read_tiny: ReadTiny, open_study: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "BUSY_SECONDS", 0.2)
    study = open_study(read_tiny())
    path = Path(study.storage.url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as other, ExitStack() as stack:
        other.execute("begin exclusive")
        with pytest.raises(LenetError, match=r"does not answer.*locked") as caught:
            study.register_worker(stack)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_line(project: Project) -> None:
    path = project.home / "searches" / "optuna.db"
    write_text(path, "this is no database, however long it is" * 100)
    with pytest.raises(LenetError, match="is no SQLite database") as caught:
        open_storage(project, study_url(project, None))
    assert "\n" not in str(caught.value)


def test_a_server_that_is_gone_is_one_line(project: Project) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(LenetError, match="does not answer") as caught:
        open_storage(project, study_url(project, "postgresql://nobody:secret@127.0.0.1:1/none"))
    assert str(caught.value).startswith("postgresql+psycopg://nobody@127.0.0.1:1/none: ")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_environment_names_the_study_where_no_config_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("LENET_STUDY_STORAGE", "postgresql://me:secret@host/db?sslmode=require&sslpassword=other")
    found = study_url(project, None)
    assert found == "postgresql+psycopg://me@host/db?sslmode=require"
    assert with_password(found) == ("postgresql+psycopg://me:secret@host/db?sslmode=require&sslpassword=other")
    assert study_url(project, "sqlite:///own.db") == f"sqlite:///{project.home}/own.db"
    monkeypatch.setenv("LENET_STUDY_STORAGE", "mysql://me:secret@host/db")
    with pytest.raises(ConfigError, match=r"^LENET_STUDY_STORAGE=mysql://me@host/db: must be"):
        study_url(project, None)


def test_a_password_in_the_config_of_a_search_is_refused(read_tiny: ReadTiny) -> None:
    with pytest.raises(ConfigError, match=r"^search\.storage=postgresql://me@host/db: has a password") as caught:
        read_tiny("search.storage='postgresql://me:secret@host/db'")
    assert "secret" not in str(caught.value)


def test_other_databases_are_refused(project: Project) -> None:
    with pytest.raises(ConfigError, match="must be sqlite:///… or postgresql"):
        study_url(project, "mysql://host/name")
    assert study_url(project, "sqlite:///other.db") == f"sqlite:///{project.home / 'other.db'}"
    assert study_url(project, "postgresql://host/name") == "postgresql+psycopg://host/name"
