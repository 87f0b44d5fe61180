from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lenet.config.schema import Config
from lenet.config.validation import flatten
from lenet.core.atomic_io import write_json
from lenet.core.errors import Stopped
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.registry.manifest import verify_manifest
from lenet.registry.register import register
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import read_versions
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir, run_dir_for
from lenet.tracking.destination import requested_destination
from lenet.tracking.run_ref import recorded_run_ref
from lenet.tracking.run_sync import RunSync, is_up_to_date, run_difference, token
from lenet.tracking.search_sync import is_search_up_to_date
from lenet.tracking.store import open_store, tracking_uri
from lenet.tracking.sync import synchronize, unsynced_runs, unsynced_searches
from showcase import fill_lightly

MakeConfig = Callable[..., Config]
ORIGIN = RunMetadata("tiny seed=1", "a sweep", ("seed=1",))
METRICS_A_BATCH = 1000
"""MLflow's own limit for one request."""

MEASURES = {"train/loss", "train/error", "val/loss", "val/error", "learning_rate", "seconds", "images_per_second"}


class Shop:
    """A project, its store, and what one does with both."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.uri = tracking_uri(project)
        self.digest = training_digest(project.prepared("tiny"))

    def projection(self) -> RunSync:
        return RunSync(self.project, self.uri, "lenet5")

    def train(self, config: Config, on_change: Callable[[RunDir], Any] = lambda folder: None) -> RunDir:
        return get_or_train(self.project, config, self.digest, ORIGIN, on_change, print).folder

    def client(self) -> Any:
        return open_store(self.project, self.uri)

    def runs(self, deleted: bool = False) -> list[Any]:
        from mlflow.entities import ViewType

        client = self.client()
        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        return list(client.search_runs([client.get_experiment_by_name("lenet5").experiment_id], run_view_type=view))

    def points(self, run: str) -> Counter[tuple[str, int]]:
        """How often each metric was logged at each step."""
        client = self.client()
        names = client.get_run(run).data.metrics
        return Counter((name, point.step) for name in names for point in client.get_metric_history(run, name))


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database as MLflow makes it, to copy: making one takes seconds."""
    home = tmp_path_factory.mktemp("store")
    project = Project(home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_store(project, f"sqlite:///{home}/mlflow.db")
    return home / "mlflow.db"


@pytest.fixture
def shop(project: Project, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with sqlite3.connect(empty_database) as source, sqlite3.connect(project.home / "mlflow.db") as copy:
        source.backup(copy)
    return Shop(project)


@pytest.fixture
def config(make_config: MakeConfig) -> Config:
    return make_config()


def every_point(epochs: int) -> Counter[tuple[str, int]]:
    return Counter((name, step) for name in MEASURES for step in range(1, epochs + 1))


def test_a_run_is_shown_whole(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    plots = folder.path / "plots"
    plots.mkdir()
    (plots / "learning_curves.png").write_bytes(b"a picture")
    place = shop.projection().send(folder)
    (run,) = shop.runs()
    assert (place.uri, place.run_id, place.experiment_id) == (shop.uri, run.info.run_id, run.info.experiment_id)
    assert (run.info.run_name, run.info.status) == ("tiny seed=1", "FINISHED")
    assert run.data.params == {name: str(value) for name, value in flatten(config.tree())}
    assert shop.points(place.run_id) == every_point(2)
    history = folder.history()
    assert run.data.metrics == {name: history[-1][name] for name in MEASURES}
    for name in MEASURES:
        points = sorted(shop.client().get_metric_history(place.run_id, name), key=lambda point: point.step)
        assert [point.value for point in points] == [row[name] for row in history]
        assert points[0].timestamp < points[1].timestamp
    (attempt,) = folder.status()["attempts"]
    assert run.info.start_time == int(attempt["started"] * 1000)
    assert run.info.end_time == int(attempt["ended"] * 1000)


def test_tags_data_set_and_artifacts(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    (folder.path / "plots").mkdir()
    (folder.path / "plots" / "learning_curves.png").write_bytes(b"a picture")
    place = shop.projection().send(folder)
    run = shop.client().get_run(place.run_id)
    identity = folder.identity()
    expected = {
        "lenet.fingerprint": folder.fingerprint,
        "lenet.variant": "tiny_variant",
        "lenet.seed": "1",
        "lenet.data_digest": shop.digest,
        "lenet.code_digest": identity["code_digest"],
        "lenet.sweep": "a sweep",
        "lenet.folder": f"runs/{folder.fingerprint}",
        "lenet.attempts": "1",
        "lenet.threads": "1",
        "mlflow.source.name": "train.py seed=1",
    }
    assert {name: run.data.tags.get(name) for name in expected} == expected
    assert run.data.tags["lenet.version.torch"] == folder.status()["attempts"][0]["versions"]["torch"]
    assert run.data.tags["lenet.message"] == ""
    (shown,) = run.inputs.dataset_inputs
    assert (shown.dataset.name, shown.dataset.digest) == ("tiny", shop.digest[:36])
    assert [(tag.key, tag.value) for tag in shown.tags] == [("mlflow.data.context", "training")]
    artifacts = shop.project.home / "mlartifacts" / "lenet5" / place.run_id / "artifacts"
    for name in ("config.yaml", "weights.safetensors", "plots/learning_curves.png"):
        assert (artifacts / name).read_bytes() == (folder.path / name).read_bytes()


def test_sending_twice_adds_nothing(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    projection = shop.projection()
    place = projection.send(folder)
    before = shop.points(place.run_id)
    assert projection.send(folder) == place
    assert shop.projection().send(folder) == place  # as another process would
    (folder.path / "mlflow.json").unlink()
    assert shop.projection().send(folder) == place
    assert shop.points(place.run_id) == before == every_point(2)
    assert len(shop.runs(deleted=True)) == 1


def test_epoch_by_epoch_while_it_trains(shop: Shop, make_config: MakeConfig) -> None:
    projection, seen = shop.projection(), list[tuple[str, int]]()

    def show(folder: RunDir) -> None:
        place = projection.send(folder)
        run = shop.client().get_run(place.run_id)
        seen.append((run.info.status, len({step for _, step in shop.points(place.run_id)})))

    shop.train(make_config(trainer__epochs=3), show)
    assert seen == [("RUNNING", 0), ("RUNNING", 1), ("RUNNING", 2), ("RUNNING", 3), ("RUNNING", 3), ("FINISHED", 3)]
    (run,) = shop.runs()
    assert shop.points(run.info.run_id) == every_point(3)


def test_an_interrupted_run_goes_on_in_the_same_mlflow_run(shop: Shop, make_config: MakeConfig) -> None:
    config, projection = make_config(trainer__epochs=3), shop.projection()

    def stop(folder: RunDir) -> None:
        projection.send(folder)
        if len(folder.history()) == 2 and folder.status()["state"] == "RUNNING":
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        shop.train(config, stop)
    (run,) = shop.runs()
    assert run.info.status == "KILLED"
    assert run.data.tags["lenet.message"] == "stopped by signal 15"
    assert run.info.end_time is not None
    assert shop.points(run.info.run_id) == every_point(2)
    folder = shop.train(config, shop.projection().send)
    (again,) = shop.runs(deleted=True)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert shop.points(run.info.run_id) == every_point(3)
    assert again.data.tags["lenet.attempts"] == "2"
    assert again.info.start_time == int(folder.status()["attempts"][0]["started"] * 1000)


def test_a_finished_run_does_not_show_the_message_of_its_interruption(shop: Shop, make_config: MakeConfig) -> None:
    config, projection = make_config(), shop.projection()

    def stop(folder: RunDir) -> None:
        projection.send(folder)
        if len(folder.history()) == 1 and folder.status()["state"] == "RUNNING":
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        shop.train(config, stop)
    place = shop.projection().send(shop.train(config))
    assert not shop.client().get_run(place.run_id).data.tags.get("lenet.message")


def test_a_lost_database_is_filled_again(shop: Shop, make_config: MakeConfig, said: list[str]) -> None:
    folders = [shop.train(make_config(seed=seed)) for seed in (1, 2)]
    # By another process, so that this one has no connection to the file that is about to go.
    subprocess.run([sys.executable, "-m", "lenet", "sync"], cwd=shop.project.root, check=True, capture_output=True)
    assert unsynced_runs(shop.project) == []
    for path in shop.project.home.glob("mlflow.db*"):
        path.unlink()
    assert [folder for folder, _, _ in unsynced_runs(shop.project)] == folders
    synchronize(shop.project, said.append)
    assert said == [f"MLflow at {shop.uri} shows 2 runs (2 brought up to date)"]
    runs = shop.runs()
    assert {run.data.tags["lenet.fingerprint"] for run in runs} == {folder.fingerprint for folder in folders}
    assert all(shop.points(run.info.run_id) == every_point(2) for run in runs)
    synchronize(shop.project, said.append)
    assert said[1] == f"MLflow at {shop.uri} shows 2 runs (0 brought up to date)"


def test_a_run_that_was_deleted_in_mlflow_is_shown_again(shop: Shop, config: Config, said: list[str]) -> None:
    folder = shop.train(config)
    first = shop.projection().send(folder)
    assert is_up_to_date(folder, shop.uri)
    shop.client().delete_run(first.run_id)
    assert not is_up_to_date(folder, shop.uri)
    synchronize(shop.project, said.append)
    (run,) = shop.runs()
    assert run.info.run_id != first.run_id
    assert shop.points(run.info.run_id) == every_point(2)
    assert is_up_to_date(folder, shop.uri)


def test_a_run_deleted_while_it_trains_is_shown_again_by_the_same_projection(shop: Shop, config: Config) -> None:
    from mlflow.exceptions import MlflowException

    folder, projection = shop.train(config), shop.projection()
    first = projection.send(folder)
    shop.client().delete_run(first.run_id)
    try:
        second = projection.send(folder)
    except MlflowException:
        second = projection.send(folder)
    assert second.run_id != first.run_id


def test_runs_that_were_created_twice_become_one(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    place = shop.projection().send(folder)
    double = shop.client().create_run(place.experiment_id, tags={"lenet.fingerprint": folder.fingerprint})
    assert shop.projection().send(folder) == place
    assert [run.info.run_id for run in shop.runs()] == [place.run_id]
    assert double.info.run_id in {run.info.run_id for run in shop.runs(deleted=True)}


def test_what_was_sent_is_on_record(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    assert recorded_run_ref(folder, shop.uri) == (None, "")
    assert not is_up_to_date(folder, shop.uri)
    place = shop.projection().send(folder)
    assert recorded_run_ref(folder, shop.uri) == (place, token(folder))
    assert recorded_run_ref(folder, "sqlite:////other.db") == (None, "")
    assert is_up_to_date(folder, shop.uri)
    (folder.path / "mlflow.json").write_text("{")
    assert recorded_run_ref(folder, shop.uri) == (None, "")
    assert shop.projection().send(folder) == place
    assert is_up_to_date(folder, shop.uri)


def test_the_test_sets_answer_is_shown_when_there_is_one(shop: Shop, config: Config, said: list[str]) -> None:
    folder = shop.train(config)
    place = shop.projection().send(folder)
    body = {"test_digest": "d", "measures": {"test/error": 1.5, "test/loss": 0.25}, "interval": [1, 2]}
    folder.write("evaluation.json", body | {"evaluated": 1_700_000_000.0})
    assert not is_up_to_date(folder, shop.uri)
    synchronize(shop.project, said.append)
    synchronize(shop.project, said.append)
    run = shop.client().get_run(place.run_id)
    assert (run.data.metrics["test/error"], run.data.metrics["test/loss"]) == (1.5, 0.25)
    added = Counter({("test/error", 2): 1, ("test/loss", 2): 1})
    assert shop.points(place.run_id) == every_point(2) + added


def test_a_new_answer_of_the_test_set_replaces_the_old(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    for error in (1.5, 1.25):
        body: dict[str, Any] = {"test_digest": str(error), "measures": {"test/error": error}, "interval": [1, 2]}
        folder.write("evaluation.json", body | {"evaluated": 1_700_000_000.0 + 100 / error})
        place = shop.projection().send(folder)
    assert shop.client().get_run(place.run_id).data.metrics["test/error"] == 1.25


def test_a_killed_run_is_closed(shop: Shop, config: Config, said: list[str]) -> None:
    folder = shop.train(config)
    status = folder.status()
    status["attempts"][0]["ended"] = None
    for name in ("weights.safetensors", "validation.npz"):
        (folder.path / name).unlink()
    folder.write("status.json", status | {"state": "RUNNING", "files": {}})  # as kill -9 leaves it
    synchronize(shop.project, said.append)
    (run,) = shop.runs()
    assert run.info.status == "KILLED"
    assert said[1] == f"{folder.short}: killed after epoch 2; the command that began it goes on with it"


def test_more_metrics_than_fit_one_batch(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    first = folder.history()[0]
    epochs = METRICS_A_BATCH // len(MEASURES) + 10
    folder.write("history.json", {"epochs": [first | {"epoch": n} for n in range(1, epochs + 1)]})
    place = shop.projection().send(folder)
    assert shop.points(place.run_id) == every_point(epochs)


def test_ended_between_two_batches_no_point_is_lost(
    shop: Shop, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = shop.train(config)
    first = folder.history()[0]
    epochs = METRICS_A_BATCH // len(MEASURES) + 10
    folder.write("history.json", {"epochs": [first | {"epoch": n} for n in range(1, epochs + 1)]})
    log_batch, sent = SqlAlchemyStore.log_batch, list[int]()

    def end_at_the_second(store: SqlAlchemyStore, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        if sent:
            raise ConnectionError("gone")
        sent.append(len(metrics))
        log_batch(store, run_id, metrics, params, tags)

    with monkeypatch.context() as patch:
        patch.setattr(SqlAlchemyStore, "log_batch", end_at_the_second)
        with pytest.raises(ConnectionError):
            shop.projection().send(folder)
    assert sent[0] <= METRICS_A_BATCH
    place = shop.projection().send(folder)  # by another process, which knows only what the store says
    assert shop.points(place.run_id) == every_point(epochs)


def test_a_run_that_never_began_does_not_stop_the_others(shop: Shop, make_config: MakeConfig, said: list[str]) -> None:
    begun, other = shop.train(make_config(seed=1)), make_config(seed=2)
    folder = run_dir_for(shop.project, other, shop.digest)
    folder.path.mkdir()
    folder.write_identity(begun.identity() | {"config": other.tree()})
    synchronize(shop.project, said.append)
    assert begun.fingerprint in {run.data.tags["lenet.fingerprint"] for run in shop.runs()}


def test_a_damaged_run_is_left_out(shop: Shop, make_config: MakeConfig, said: list[str]) -> None:
    good, bad = shop.train(make_config(seed=1)), shop.train(make_config(seed=2))
    (bad.path / "run.json").write_text("{")
    assert synchronize(shop.project, said.append) is False
    assert said[0].startswith(f"{bad.short}: not brought up to date: ")
    assert said[1:] == [f"MLflow at {shop.uri} shows 1 runs (1 brought up to date)"]
    (run,) = shop.runs()
    assert run.data.tags["lenet.fingerprint"] == good.fingerprint


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        (
            {"tracking__uri": "http://127.0.0.1:9"},
            "MLflow at http://127.0.0.1:9: does not answer ([Errno 111] Connection refused); start it and run",
        ),
        ({"tracking__uri": "./mlruns"}, "./mlruns: must be an MLflow server (http://host:5000) or a database"),
        ({"tracking__experiment": "x" * 600}, "MLflow at sqlite:////"),
    ],
)
def test_a_run_that_cannot_be_shown_is_named_and_does_not_stop_the_others(
    shop: Shop, make_config: MakeConfig, said: list[str], monkeypatch: pytest.MonkeyPatch, knobs: Any, reason: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    good, bad, worse = (shop.train(make_config(seed=seed)) for seed in (1, 2, 3))
    for folder in (bad, worse):
        body = folder.identity()
        asked = {name.removeprefix("tracking__"): value for name, value in knobs.items()}
        folder.write("run.json", body | {"tracking": body["tracking"] | asked})
    assert synchronize(shop.project, said.append) is False
    assert [run.data.tags["lenet.fingerprint"] for run in shop.runs()] == [good.fingerprint]
    assert said[0].endswith("shows 1 runs (1 brought up to date)")
    (line,) = said[1:]  # one for both
    names = {f"not shown: {one.short}, {other.short}: {reason}" for one, other in ((bad, worse), (worse, bad))}
    assert any(line.startswith(start) for start in names)
    assert "\n" not in line
    assert len(line) < 500


def test_a_run_that_was_asked_for_with_a_typo_is_asked_for_again(
    shop: Shop, make_config: MakeConfig, said: list[str]
) -> None:
    folder = shop.train(make_config(tracking__uri="http://127.0.0.1:9"))
    assert requested_destination(shop.project, folder.identity())[0] == "http://127.0.0.1:9"
    shop.train(make_config())
    assert synchronize(shop.project, said.append) is True
    assert [run.data.tags["lenet.fingerprint"] for run in shop.runs()] == [folder.fingerprint]


def test_artifacts_survive_the_loss_of_the_folder(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    place = shop.projection().send(folder)
    weights = (folder.path / "weights.safetensors").read_bytes()
    shutil.rmtree(folder.path)
    artifacts = shop.project.home / "mlartifacts" / "lenet5" / place.run_id / "artifacts"
    assert (artifacts / "weights.safetensors").read_bytes() == weights


CHANGES = (
    ("update metrics set value = 99 where key = 'val/error' and step = 1", "metric val/error"),
    ("update latest_metrics set value = 99 where key = 'val/error'", "metric val/error"),
    (
        "insert into metrics select key, 5, timestamp, run_uuid, step, is_nan from metrics where key = 'val/loss'",
        "metric",
    ),
    ("delete from metrics where key = 'train/loss' and step = 2", "metric train/loss"),
    ("update params set value = '7' where key = 'seed'", "parameter seed"),
    ("delete from params where key like 'optimizer.%'", "parameter optimizer.name"),
    ("delete from inputs", "data set tiny"),
    ("update datasets set digest = 'other'", "data set tiny"),
    ("update tags set value = '2' where key = 'lenet.seed'", "tag lenet.seed"),
    ("insert into tags select 'mlflow.parentRunId', 'x', run_uuid from runs", "tag mlflow.parentRunId"),
    ("update runs set status = 'RUNNING'", "status"),
    ("update runs set end_time = 1", "status"),
)


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


def test_rows_that_somebody_changed_are_found_and_mended(shop: Shop, config: Config, said: list[str]) -> None:
    folder = shop.train(config)
    place = shop.projection().send(folder)
    database = shop.project.home / "mlflow.db"
    right = rows(database)
    for statement, word in CHANGES:
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(statement)
        found = run_difference(folder, database, place.run_id)
        assert found is not None
        assert any(one.startswith(word) for one in found.words()), (statement, found.words())
        assert not is_up_to_date(folder, shop.uri), statement
        synchronize(shop.project, said.append)
        assert rows(database) == right, statement
    assert all(line.endswith("shows 1 runs (1 brought up to date)") for line in said)


def test_nothing_is_taken_away_from_a_database_that_others_may_share(
    shop: Shop, config: Config, tmp_path: Path, empty_database: Path
) -> None:
    shared = tmp_path / "elsewhere" / "mlflow.db"
    shared.parent.mkdir()
    shutil.copyfile(empty_database, shared)
    folder = shop.train(config)
    uri = f"sqlite:///{shared}"
    projection = RunSync(shop.project, uri, "lenet5")
    place = projection.send(folder)
    right = rows(shared)
    with closing(sqlite3.connect(shared)) as connection, connection:
        connection.execute("update params set value = 'theirs' where key = 'seed'")
        connection.execute("delete from metrics where key = 'val/error' and step = 1")
    RunSync(shop.project, uri, "lenet5").send(folder)
    found = rows(shared)
    assert ("seed", "theirs") in found["params"]
    assert found["metrics"] == right["metrics"]  # what is missing is sent all the same
    assert is_up_to_date(folder, uri)
    difference = run_difference(folder, shared, place.run_id)
    assert difference is not None
    assert not difference.is_wrong


def test_artifacts_that_are_cut_or_gone_are_sent_again_and_nothing_half_written(shop: Shop, config: Config) -> None:
    folder = shop.train(config)
    (folder.path / "plots").mkdir()
    (folder.path / "plots" / "learning_curves.png").write_bytes(b"a picture")
    (folder.path / "plots" / ".learning_curves.png.12.partial").write_bytes(b"half a picture")
    place = shop.projection().send(folder)
    artifacts = shop.project.home / "mlartifacts" / "lenet5" / place.run_id / "artifacts"
    expected = {name: (folder.path / name).read_bytes() for name in ("config.yaml", "weights.safetensors")}
    expected["plots/learning_curves.png"] = b"a picture"
    (artifacts / "config.yaml").unlink()
    (artifacts / "weights.safetensors").write_bytes(b"cut")
    (artifacts / "plots" / ".artifact.uploading.x").write_bytes(b"of one that was killed")
    assert not is_up_to_date(folder, shop.uri)
    shop.projection().send(folder)
    found = {path.relative_to(artifacts).as_posix(): path for path in artifacts.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == expected


def test_a_run_of_five_epochs_is_few_requests(
    shop: Shop, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    asked = Counter[str]()
    for name in ("create_run", "search_runs", "get_run", "get_metric_history", "log_batch", "log_inputs"):
        monkeypatch.setattr(MlflowClient, name, counting(asked, name, getattr(MlflowClient, name)))
    for name in ("update_run", "set_terminated", "log_artifact"):
        monkeypatch.setattr(MlflowClient, name, counting(asked, name, getattr(MlflowClient, name)))
    projection = shop.projection()
    shop.train(make_config(trainer__epochs=5), projection.send)
    # parameters, five epochs, and the end's tags
    assert asked == {"create_run": 1, "log_batch": 7, "log_inputs": 1, "log_artifact": 2, "set_terminated": 1}


def counting(asked: Counter[str], name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def asks(*words: Any, **options: Any) -> Any:
        asked[name] += 1
        return real(*words, **options)

    return asks


def test_a_project_that_was_moved_takes_its_store_along(
    shop: Shop, make_config: MakeConfig, tmp_path: Path, said: list[str]
) -> None:
    first = shop.train(make_config(seed=1))
    place = shop.projection().send(first)
    with RegisteredModel(shop.project, "classifier", shop.uri) as registry:
        register(registry, place, first, fill_lightly, {})
    old, new = shop.project.root, tmp_path / "elsewhere" / "the lab"
    new.parent.mkdir()
    shutil.move(old, new)
    old.write_text("nothing can be made here")
    moved = Shop(Project(new, new))
    (version,) = read_versions(moved.project, moved.uri, "classifier")
    source = version.local_folder
    assert source is not None  # found before anything is put right
    assert source.is_relative_to(new)
    assert verify_manifest(source, version.tags, "")
    assert unsynced_runs(moved.project) == []
    synchronize(moved.project, said.append)
    assert said == [f"MLflow at {moved.uri} shows 1 runs (0 brought up to date)"]
    second = moved.projection().send(moved.train(make_config(seed=2)))
    artifacts = new / "mlartifacts" / "lenet5" / second.run_id / "artifacts"
    assert sorted(path.name for path in artifacts.iterdir()) == ["config.yaml", "weights.safetensors"]
    assert moved.projection().send(RunDir(moved.project.runs / first.fingerprint)).run_id == place.run_id
    with closing(sqlite3.connect(new / "mlflow.db")) as connection:
        assert [line for line in connection.iterdump() if str(old) in line] == []
    assert old.read_text() == "nothing can be made here"


def test_a_copy_of_the_database_alone_keeps_its_paths(shop: Shop, config: Config, tmp_path: Path) -> None:
    place = shop.projection().send(shop.train(config))
    own, other = shop.project.home / "mlflow.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(own)) as source, closing(sqlite3.connect(other)) as copy:
        source.backup(copy)
    client = open_store(shop.project, f"sqlite:///{tmp_path}/copy.db")
    assert client.get_run(place.run_id).info.artifact_uri.startswith((shop.project.home / "mlartifacts").as_uri())


def test_a_search_is_shown_whole_again_with_a_lost_database(shop: Shop, said: list[str]) -> None:
    folder = shop.project.home / "searches" / "tiny-0123"
    body: dict[str, Any] = {"study": "tiny-0123", "tracking": {"uri": None, "experiment": "lenet5"}}
    body |= {"objectives": ["val/error"], "sampler": "random", "pruner": "none", "epochs": 1, "space": {"x": 1}}
    write_json(folder / "search.json", body)
    best = {"values": {"x": 1}, "run": "f" * 64, "val_error": 2.0}
    trials = {"all": 2, "complete": 2}
    summary = {
        "study": "tiny-0123",
        "is_over": True,
        "history": [[1, 3.0, 1.7e9], [2, 2.0, 1.8e9]],
        "trials": trials,
        "best": best,
    }
    write_json(folder / "summary.json", summary)
    (folder / "trials.csv").write_text("trial\n1\n2\n")
    synchronize(shop.project, said.append)
    (run,) = shop.runs()
    assert is_search_up_to_date(folder, shop.uri)
    assert (run.info.status, run.data.metrics["search/best"], run.data.tags["lenet.best.x"]) == ("FINISHED", 2.0, "1")
    assert run.data.params["search.space.x"] == "1"
    with closing(sqlite3.connect(shop.project.home / "mlflow.db")) as connection, connection:
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            connection.execute(f"delete from {table}")
    assert not is_search_up_to_date(folder, shop.uri)
    assert unsynced_searches(shop.project) == [folder]
    synchronize(shop.project, said.append)
    (again,) = shop.runs()
    assert (again.info.run_id != run.info.run_id, again.info.status) == (True, "FINISHED")
    assert again.data.metrics == run.data.metrics
    assert shop.points(again.info.run_id)["search/best", 1] == 1
    artifacts = shop.project.home / "mlartifacts" / "lenet5" / again.info.run_id / "artifacts"
    assert {path.name for path in artifacts.iterdir()} == {"trials.csv", "summary.json", "trials.json"}
