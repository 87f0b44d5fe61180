from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from lenet.config.schema import Config
from lenet.config.validation import flatten
from lenet.core.errors import ConfigError, LenetError
from lenet.core.project import Project
from lenet.execution.runner import Runner
from lenet.hydra_app.results_table import Row, print_rows
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import read_versions
from lenet.runs.get_or_train import RunMetadata
from lenet.tracking.run_sync import is_up_to_date
from lenet.tracking.store import (
    StoreAwayError,
    _unusable,
    database_path,
    experiment_id,
    holds_run,
    open_store,
    shown_uri,
    store_errors,
    tracking_uri,
)
from rude_mlflow import ACCOUNT, answering, mlflow_with_account

OPEN = """
import sys
from pathlib import Path
from lenet.core.project import Project
from lenet.tracking.store import experiment_id, open_store, tracking_uri
project = Project(Path(sys.argv[1]), Path(sys.argv[1]))
uri = tracking_uri(project)
client = open_store(project, uri)
print(experiment_id(client, project, uri, "lenet5"))
"""


def test_the_store_is_what_the_config_the_environment_or_nobody_says(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(project) == f"sqlite:///{project.home}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking_uri(project) == "http://127.0.0.1:9"
    assert tracking_uri(project, "https://other") == "https://other"


def test_a_relative_file_lies_in_the_home(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(project, "sqlite:///deep/x.db") == f"sqlite:///{project.home}/deep/x.db"
    assert tracking_uri(project, f"sqlite:///{tmp_path}/x.db") == f"sqlite:///{tmp_path}/x.db"
    assert database_path(f"sqlite:///{tmp_path}/x.db") == tmp_path / "x.db"
    assert database_path("http://x") is None


def test_a_password_is_not_shown() -> None:
    assert shown_uri("https://me:secret@host:5000/x") == "https://me@host:5000/x"
    assert shown_uri("https://host:5000/x") == "https://host:5000/x"
    assert shown_uri("sqlite:////tmp/x.db") == "sqlite:////tmp/x.db"


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (503, "start it and"),
        (401, "the account lacks the right: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to one that has"),
        (403, "the account lacks the right: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to one that has"),
    ],
)
def test_a_server_that_denies_a_right_is_not_to_be_started(
    project: Project, status: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *values: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(LenetError, match=f"^MLflow at {uri}: .*; {remedy}") as caught:
            read_versions(project, uri, "digits")
        with pytest.raises(LenetError, match=remedy), store_errors(uri, "ask again"):  # as artifacts are asked for
            requests.get(uri, timeout=5).raise_for_status()
        server.shutdown()
    assert "\n" not in str(caught.value)


def test_an_sqlite_store_is_made_ready_and_in_wal_mode(project: Project) -> None:
    uri = tracking_uri(project)
    client = open_store(project, uri)
    first = experiment_id(client, project, uri, "lenet5")
    assert experiment_id(client, project, uri, "lenet5") == first
    experiment = client.get_experiment(first)
    assert experiment.name == "lenet5"
    assert experiment.artifact_location == (project.home / "mlartifacts" / "lenet5").as_uri()
    with closing(sqlite3.connect(project.home / "mlflow.db")) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_deleted_experiment_is_restored(project: Project) -> None:
    uri = tracking_uri(project)
    client = open_store(project, uri)
    first = experiment_id(client, project, uri, "lenet5")
    client.delete_experiment(first)
    assert experiment_id(client, project, uri, "lenet5") == first
    assert client.get_experiment(first).lifecycle_stage == "active"


def test_several_processes_at_once_make_one_store(project: Project) -> None:
    command = [sys.executable, "-c", OPEN, str(project.root)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert len({answer[0] for answer in answers}) == 1


def test_whether_a_run_is_there(project: Project) -> None:
    uri = tracking_uri(project)
    assert holds_run(uri, "x") is False  # no file
    client = open_store(project, uri)
    run = client.create_run(experiment_id(client, project, uri, "lenet5")).info.run_id
    assert holds_run(uri, run) is True
    assert holds_run(uri, "x") is False
    client.delete_run(run)
    assert holds_run(uri, run) is False
    assert holds_run("http://127.0.0.1:9", run) is None
    (project.home / "broken.db").write_bytes(b"no database")
    assert holds_run(f"sqlite:///{project.home}/broken.db", run) is None


def test_a_store_of_an_unknown_kind_is_one_line(project: Project) -> None:
    with pytest.raises(LenetError, match=r"^ftp://somewhere/else: MLflow cannot open this store") as caught:
        open_store(project, "ftp://somewhere/else")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_line(project: Project) -> None:
    path = project.home / "broken.db"
    path.write_bytes(b"this is not a database, and it is long enough to be looked at" * 100)
    with pytest.raises(LenetError, match=r"MLflow cannot open this store") as caught:
        open_store(project, f"sqlite:///{path}")
    assert "\n" not in str(caught.value)


def test_a_users_patience_stands(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    open_store(project, "http://127.0.0.1:9")
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "10"


def test_opening_one_store_does_not_change_which_is_the_default(project: Project) -> None:
    before = tracking_uri(project)
    open_store(project, tracking_uri(project, "sqlite:///other.db"))
    assert tracking_uri(project) == before


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://host:5000/#/experiments/1?a=b", ": is a page of MLflow's; its store is http://host:5000"),
        ("localhost:5000", ": must be an MLflow server (http://localhost:5000) or a database"),
        ("./mlruns", ": must be an MLflow server (http://host:5000) or a database"),
        ("file:///tmp/mlruns", ": must be an MLflow server (http://host:5000) or a database"),
    ],
)
def test_what_is_no_store_is_one_short_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, uri: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        tracking_uri(project, uri)
    assert str(caught.value).startswith(f"{uri}{message}")
    assert len(str(caught.value)) < 200
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError) as caught:
        tracking_uri(project)
    assert str(caught.value).startswith(f"MLFLOW_TRACKING_URI={uri}{message}")


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b'{"experiment": 3}', 200, "see that it is an MLflow server"),
        (b"[1]", 200, "see that it is an MLflow server"),
        (b"<!doctype html><html>" + b"<p>sign in</p>" * 200, 200, "a web page, which MLflow does not"),
        (b"<html>" + b"no such page " * 200, 404, "a web page, which MLflow does not"),
    ],
)
def test_a_server_that_is_not_mlflows_is_one_short_line(project: Project, body: bytes, status: int, told: str) -> None:
    with answering(body, status) as uri:
        client = open_store(project, uri)
        with pytest.raises(StoreAwayError) as caught, store_errors(uri, "ask again"):
            experiment_id(client, project, uri, "lenet5")
    line = str(caught.value)
    assert line.startswith(f"MLflow at {uri}: ")
    assert told in line
    assert line.endswith("; see that it is an MLflow server and ask again")
    assert "\n" not in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("database or disk is full", "make room"),
        ("attempt to write a readonly database", "see to the rights"),
        ("database is locked", "another process is at it"),
        ("file is not a database", "move the file away"),
    ],
)
def test_a_file_that_is_whole_is_not_to_be_moved_away(project: Project, said: str, remedy: str) -> None:
    from sqlalchemy.exc import OperationalError

    uri = tracking_uri(project)
    line = _unusable(uri, OperationalError("insert into runs", {}, sqlite3.OperationalError(said)))
    assert said in line
    assert remedy in line
    assert ("move" in line) == (said == "file is not a database")


def test_a_stores_password_goes_to_the_store_and_nowhere_else(
    project: Project, make_config: Callable[..., Config], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name, password = ACCOUNT
    with mlflow_with_account(tmp_path) as uri, pytest.MonkeyPatch.context() as patch:
        stranger = open_store(project, uri)
        with pytest.raises(LenetError, match="lacks the right"), store_errors(uri, "ask again"):
            experiment_id(stranger, project, uri, "lenet5")
        address = uri.replace("://", f"://{name}:{password}@")
        plain = uri.replace("://", f"://{name}@")
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "paper")
        assert tracking_uri(project) == plain
        with Runner(project) as laboratory:
            folder = laboratory.get_or_train(
                make_config(tracking__experiment=None), RunMetadata("tiny", "a sweep")
            ).folder
        place = laboratory.place(folder, make_config())
        assert place is not None
        assert place.uri == plain
        assert is_up_to_date(folder, plain)
        client = open_store(project, plain)
        run = client.get_run(place.run_id)
        assert client.get_experiment(run.info.experiment_id).name == "paper"
        print_rows(project, [Row(folder.fingerprint, "trained", dict(flatten(folder.config().tree())))])
        with RegisteredModel(project, "classifier", address) as registry:  # as `--against` names it
            assert registry.versions == []
            assert registry.store == plain
        with Runner(project) as laboratory:  # in another experiment of the same store: said, not shown twice
            laboratory.get_or_train(make_config(tracking__experiment="other"), RunMetadata("tiny", "another sweep"))
        assert client.get_experiment_by_name("other") is None
        (again,) = client.search_runs([run.info.experiment_id])
        assert again.info.run_id == place.run_id
    said = capfd.readouterr()
    assert f"compare: {plain}/#/experiments/" in said.out
    assert f"{folder.short}: MLflow shows it in experiment paper already, and a run is shown once: other" in said.err
    written = [path for path in (*project.home.rglob("*"), *tmp_path.glob("server.db*")) if path.is_file()]
    assert len(written) > 20
    assert [path for path in written if password.encode() in path.read_bytes()] == []
    assert password not in said.out + said.err
