from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
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
from lenet.tracking import store
from lenet.tracking.run_sync import is_up_to_date
from lenet.tracking.sqlite_store import holds_run
from lenet.tracking.store import experiment_id, experiment_name, open_store, tracking_uri
from lenet.tracking.store_errors import StoreAwayError, database_path, store_errors, unusable
from rude_mlflow import ACCOUNT, answering, mlflow_with_account

MakeConfig = Callable[..., Config]
OPEN = """
import sys
from pathlib import Path
from lenet.core.project import Project
from lenet.tracking.store import experiment_id, open_store, tracking_uri
project = Project(Path(sys.argv[1]), Path(sys.argv[1]))
uri = tracking_uri(project)
print(experiment_id(open_store(project, uri), uri, "lenet5"))
"""


def test_uri_comes_from_the_config_the_environment_or_the_home(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(project) == f"sqlite:///{project.home}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking_uri(project) == "http://127.0.0.1:9"
    assert tracking_uri(project, "https://other/") == "https://other"
    assert tracking_uri(project, "sqlite:///deep/x.db") == f"sqlite:///{project.home}/deep/x.db"
    assert tracking_uri(project, f"sqlite:///{tmp_path}/x.db") == f"sqlite:///{tmp_path}/x.db"
    assert database_path(f"sqlite:///{tmp_path}/x.db") == tmp_path / "x.db"
    assert database_path("http://x") is None


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("http://host:5000/#/experiments/1?a=b", "http://host:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("./mlruns", "sqlite:///mlflow.db"),
        ("file:///tmp/mlruns", "sqlite:///mlflow.db"),
    ],
)
def test_uri_that_is_not_a_stores_is_one_short_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, uri: str, named: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        tracking_uri(project, uri)
    assert str(caught.value).startswith(f"{uri}: ")
    assert named in str(caught.value)
    assert len(str(caught.value)) < 200
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_URI="):
        tracking_uri(project)


def test_experiment_is_the_configs_the_environments_or_the_data_sets(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tracking__experiment=None)
    assert experiment_name(config) == "tiny"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "paper")
    assert experiment_name(config) == "paper"
    assert experiment_name(make_config(tracking__experiment="own")) == "own"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "../x")
    with pytest.raises(ConfigError, match=r"^MLFLOW_EXPERIMENT_NAME=\.\./x: "):
        experiment_name(config)


def test_ignored_variables_are_reported(project: Project, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    store._warn_of_ignored_variables.cache_clear()
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://elsewhere")
    for _ in range(2):
        open_store(project, "http://127.0.0.1:9")
    assert said == ["MLFLOW_REGISTRY_URI is ignored; set MLFLOW_TRACKING_URI"]


def test_sqlite_store_is_made_in_wal_mode_with_its_artifacts_beside(project: Project) -> None:
    uri = tracking_uri(project)
    client = open_store(project, uri)
    number = experiment_id(client, uri, "lenet5")
    assert experiment_id(client, uri, "lenet5") == number
    artifacts = client.get_experiment(number).artifact_location
    assert artifacts == (project.home / "mlartifacts" / "lenet5").as_uri()
    with closing(sqlite3.connect(project.home / "mlflow.db")) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    client.delete_experiment(number)
    assert experiment_id(client, uri, "lenet5") == number
    assert client.get_experiment(number).lifecycle_stage == "active"
    run = client.create_run(number).info.run_id
    assert (holds_run(uri, run), holds_run(uri, "x")) == (True, False)
    client.delete_run(run)
    assert holds_run(uri, run) is False


def test_whether_a_run_is_there_is_unknown_without_a_readable_file(project: Project) -> None:
    (project.home / "broken.db").write_bytes(b"no database")
    assert holds_run(f"sqlite:///{project.home}/broken.db", "x") is None
    assert holds_run("http://127.0.0.1:9", "x") is None
    assert holds_run(tracking_uri(project), "x") is False


def test_several_processes_at_once_make_one_store(project: Project) -> None:
    command = [sys.executable, "-c", OPEN, str(project.root)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    results = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], results
    assert len({result[0] for result in results}) == 1


def test_opening_a_store_keeps_the_default_one_and_the_users_settings(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    before = tracking_uri(project)
    open_store(project, "http://127.0.0.1:9")
    assert tracking_uri(project) == before
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "7"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "10"


@pytest.mark.parametrize("uri", ["ftp://somewhere/else", "sqlite:///broken.db"])
def test_store_that_cannot_be_opened_is_one_line(project: Project, uri: str) -> None:
    (project.home / "broken.db").write_bytes(b"this is not a database, and it is long enough to be looked at" * 100)
    with pytest.raises(LenetError, match="MLflow cannot open this store") as caught:
        open_store(project, tracking_uri(project, uri))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("database or disk is full", "make room"),
        ("attempt to write a readonly database", "check the permissions"),
        ("database is locked", "wait for the process"),
        ("file is not a database", "move the file away"),
    ],
)
def test_remedy_fits_the_fault_of_the_file(project: Project, message: str, remedy: str) -> None:
    from sqlalchemy.exc import OperationalError

    line = unusable(tracking_uri(project), OperationalError("insert", {}, sqlite3.OperationalError(message)))
    assert message in line
    assert remedy in line


@pytest.mark.parametrize(
    ("status", "remedy"), [(503, "start it"), (401, "MLFLOW_TRACKING_USERNAME"), (403, "MLFLOW_TRACKING_USERNAME")]
)
def test_server_that_cannot_or_denies(
    project: Project, status: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with answering(b"", status) as uri:
        with pytest.raises(LenetError, match=f"^MLflow at {uri}: .*{remedy}") as caught:
            read_versions(project, uri, "classifier")
        with pytest.raises(LenetError, match=remedy), store_errors(uri, "ask again"):  # as artifacts are requested
            requests.get(uri, timeout=5).raise_for_status()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "status", "is_page"),
    [
        (b'{"experiment": 3}', 200, False),
        (b"[1]", 200, False),
        (b"<!doctype html><html>" + b"<p>sign in</p>" * 200, 200, True),
        (b"<html>" + b"no such page " * 200, 404, True),
    ],
)
def test_server_that_is_not_mlflow_is_one_short_line(project: Project, body: bytes, status: int, is_page: bool) -> None:
    with answering(body, status) as uri:
        client = open_store(project, uri)
        with pytest.raises(StoreAwayError) as caught, store_errors(uri, "ask again"):
            experiment_id(client, uri, "lenet5")
    line = str(caught.value)
    assert line.startswith(f"MLflow at {uri}: ")
    assert ("a web page, which MLflow does not" in line) == is_page
    assert line.endswith("; check that it is an MLflow server and ask again")
    assert "\n" not in line
    assert len(line) < 400


def test_password_goes_to_the_store_and_nowhere_else(
    project: Project, make_config: MakeConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str], said: list[str]
) -> None:
    name, password = ACCOUNT
    with mlflow_with_account(tmp_path) as uri, pytest.MonkeyPatch.context() as patch:
        stranger = open_store(project, uri)
        with pytest.raises(LenetError, match="lacks the right"), store_errors(uri, "ask again"):
            experiment_id(stranger, uri, "lenet5")
        address = uri.replace("://", f"://{name}:{password}@")
        plain = uri.replace("://", f"://{name}@")
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "paper")
        assert tracking_uri(project) == plain
        with Runner(project) as runner:
            run = runner.get_or_train(make_config(tracking__experiment=None), RunMetadata("tiny", "a sweep")).run_dir
        ref = runner.mlflow_run(run, make_config())
        assert ref is not None
        assert ref.uri == plain
        assert is_up_to_date(run, plain)
        client = open_store(project, plain)
        shown = client.get_run(ref.run_id)
        assert client.get_experiment(shown.info.experiment_id).name == "paper"
        print_rows(project, [Row(run.fingerprint, "trained", dict(flatten(run.config().tree())))])
        with RegisteredModel(project, "classifier", address) as model:  # as `--against` names it
            assert model.versions == []
            assert model.store == plain
        with Runner(project) as runner:  # in another experiment of the same store: reported, not shown twice
            runner.get_or_train(make_config(tracking__experiment="other"), RunMetadata("tiny", "another sweep"))
        assert client.get_experiment_by_name("other") is None
        (again,) = client.search_runs([shown.info.experiment_id])
        assert again.info.run_id == ref.run_id
    output = capfd.readouterr()
    assert f"compare: {plain}/#/experiments/" in output.out
    assert any(line.startswith(f"{run.short}: ") and "paper" in line for line in said)
    written = [path for path in (*project.home.rglob("*"), *tmp_path.glob("server.db*")) if path.is_file()]
    assert len(written) > 20
    assert [path for path in written if password.encode() in path.read_bytes()] == []
    assert password not in output.out + output.err + "".join(said)


@pytest.mark.parametrize("cache", ["missing", "unwritable", "damaged"])
def test_a_store_is_made_whatever_the_cache_is(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    folder = tmp_path / "cache"
    if cache == "unwritable":
        folder.write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    if cache == "damaged":
        store._make_database(tmp_path / "other.db")
        (empty,) = folder.glob("lenet-lab/mlflow-*.db")
        empty.write_bytes(b"rubbish" * 1000)
    uri = tracking_uri(project)
    client = open_store(project, uri)
    assert experiment_id(client, uri, "lenet5")
    assert [one.name for one in client.search_experiments()] == ["lenet5", "Default"]
