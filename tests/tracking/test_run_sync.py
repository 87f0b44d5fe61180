from __future__ import annotations

import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tracked import METRICS, Lab, expected_points, rows

from lenet.config.schema import Config
from lenet.config.validation import flatten
from lenet.core.errors import Stopped
from lenet.core.project import Project
from lenet.registry.manifest import verify_manifest
from lenet.registry.register import register
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import read_versions
from lenet.runs.run_dir import RunDir
from lenet.tracking.entities import TrackedRun
from lenet.tracking.run_ref import recorded_run_ref
from lenet.tracking.run_sync import RunSync, differences, is_up_to_date
from lenet.tracking.store import open_store
from showcase import fill_lightly

MakeConfig = Callable[..., Config]
MAX_BATCH = 1000
"""MLflow's own limit of metrics in one request."""


def draw_plot(run: RunDir) -> None:
    (run.path / "plots").mkdir()
    (run.path / "plots" / "learning_curves.png").write_bytes(b"a picture")
    (run.path / "plots" / ".learning_curves.png.12.partial").write_bytes(b"half a picture")


def evaluate(run: RunDir, error: float) -> None:
    body = {"test_digest": str(error), "measures": {"test/error": error}, "interval": [1, 2]}
    run.write("evaluation.json", body | {"evaluated": 1_700_000_000.0 + error})


def test_mlflow_holds_all_of_a_run(lab: Lab, make_config: MakeConfig) -> None:
    config = make_config()
    run = lab.train(config)
    draw_plot(run)
    ref = lab.sync().send(run)
    (shown,) = lab.runs()
    assert (ref.uri, ref.run_id, ref.experiment_id) == (lab.uri, shown.info.run_id, shown.info.experiment_id)
    (attempt,) = run.status()["attempts"]
    times = int(attempt["started"] * 1000), int(attempt["ended"] * 1000)
    assert (shown.info.start_time, shown.info.end_time) == times
    assert (shown.info.run_name, shown.info.status) == ("tiny seed=1", "FINISHED")
    assert shown.data.params == {name: str(value) for name, value in flatten(config.tree())}
    history = run.history()
    assert lab.points(ref.run_id) == expected_points(2)
    assert shown.data.metrics == {name: history[-1][name] for name in METRICS}
    for name in METRICS:
        points = sorted(lab.client().get_metric_history(ref.run_id, name), key=lambda point: point.step)
        assert [point.value for point in points] == [row[name] for row in history]
        assert points[0].timestamp < points[1].timestamp
    expected = {
        "lenet.fingerprint": run.fingerprint,
        "lenet.variant": "tiny_variant",
        "lenet.seed": "1",
        "lenet.data_digest": lab.digest,
        "lenet.code_digest": run.identity()["code_digest"],
        "lenet.sweep": "a sweep",
        "lenet.folder": f"runs/{run.fingerprint}",
        "lenet.attempts": "1",
        "lenet.message": "",
        "lenet.version.torch": attempt["versions"]["torch"],
        "mlflow.source.name": "train.py seed=1",
    }
    assert {name: shown.data.tags.get(name) for name in expected} == expected
    (dataset,) = shown.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("tiny", lab.digest[:36])
    assert [(tag.key, tag.value) for tag in dataset.tags] == [("mlflow.data.context", "training")]
    names = ("config.yaml", "weights.safetensors", "plots/learning_curves.png")
    assert lab.artifacts(ref.run_id) == {name: (run.path / name).read_bytes() for name in names}
    assert recorded_run_ref(run, lab.uri) == ref
    assert recorded_run_ref(run, "sqlite:////other.db") is None
    shutil.rmtree(run.path)
    assert set(lab.artifacts(ref.run_id)) == set(names)  # copies


def test_sending_twice_adds_nothing(lab: Lab, make_config: MakeConfig) -> None:
    run, sync = lab.train(make_config()), lab.sync()
    assert not is_up_to_date(run, lab.uri)
    ref = sync.send(run)
    before = rows(lab.database)
    assert is_up_to_date(run, lab.uri)
    assert sync.send(run) == lab.sync().send(run) == ref
    (run.path / "mlflow.json").write_text("{")
    assert recorded_run_ref(run, lab.uri) is None
    assert lab.sync().send(run) == ref
    assert rows(lab.database) == before
    assert len(lab.runs(deleted=True)) == 1


def test_each_epoch_arrives_and_an_interrupted_run_goes_on_in_the_same_mlflow_run(
    lab: Lab, make_config: MakeConfig
) -> None:
    config, sync, seen = make_config(trainer__epochs=3), lab.sync(), list[tuple[str, int]]()

    def stop(run: RunDir) -> None:
        shown = lab.client().get_run(sync.send(run).run_id)
        seen.append((shown.info.status, len({step for _, step in lab.points(shown.info.run_id)})))
        if len(run.history()) == 2 and run.status()["state"] == "RUNNING":
            raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        lab.train(config, stop)
    assert seen == [("RUNNING", 0), ("RUNNING", 1), ("RUNNING", 2), ("KILLED", 2)]
    (killed,) = lab.runs()
    assert killed.data.tags["lenet.message"] == "stopped by signal 15"
    assert killed.info.end_time is not None
    run = lab.train(config, lab.sync().send)
    (again,) = lab.runs(deleted=True)
    assert (again.info.run_id, again.info.status) == (killed.info.run_id, "FINISHED")
    assert lab.points(again.info.run_id) == expected_points(3)
    assert (again.data.tags["lenet.attempts"], again.data.tags["lenet.message"]) == ("2", "")
    assert again.info.start_time == int(run.status()["attempts"][0]["started"] * 1000)


def test_deleted_run_is_created_again(lab: Lab, make_config: MakeConfig) -> None:
    run, sync = lab.train(make_config()), lab.sync()
    first = sync.send(run)
    lab.client().delete_run(first.run_id)
    assert not is_up_to_date(run, lab.uri)
    second = sync.send(run)
    assert second.run_id != first.run_id
    assert lab.points(second.run_id) == expected_points(2)


def test_of_two_runs_of_a_fingerprint_the_younger_is_deleted(lab: Lab, make_config: MakeConfig) -> None:
    run = lab.train(make_config())
    ref = lab.sync().send(run)
    double = lab.client().create_run(ref.experiment_id, tags={"lenet.fingerprint": run.fingerprint})
    assert lab.sync().send(run) == ref
    assert [one.info.run_id for one in lab.runs()] == [ref.run_id]
    assert double.info.run_id in {one.info.run_id for one in lab.runs(deleted=True)}


def test_evaluation_is_added_and_a_newer_one_replaces_it(lab: Lab, make_config: MakeConfig) -> None:
    run = lab.train(make_config())
    ref = lab.sync().send(run)
    for error in (1.5, 1.25):
        evaluate(run, error)
        assert not is_up_to_date(run, lab.uri)
        assert lab.sync().send(run) == ref
        shown = lab.client().get_run(ref.run_id)
        assert shown.data.metrics["test/error"] == error
        assert lab.points(ref.run_id) == expected_points(2) + Counter({("test/error", 2): 1})
        assert {tag.value for one in shown.inputs.dataset_inputs for tag in one.tags} == {"training", "testing"}


def test_more_metrics_than_one_batch_takes_and_a_connection_that_breaks_between(
    lab: Lab, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    run = lab.train(make_config())
    first = run.history()[0]
    epochs = MAX_BATCH // len(METRICS) + 10
    run.write("history.json", {"epochs": [first | {"epoch": n} for n in range(1, epochs + 1)]})
    log_batch, sent = SqlAlchemyStore.log_batch, list[int]()

    def break_at_the_second(store: SqlAlchemyStore, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        if sent:
            raise ConnectionError("gone")
        sent.append(len(metrics))
        log_batch(store, run_id, metrics, params, tags)

    with monkeypatch.context() as patch:
        patch.setattr(SqlAlchemyStore, "log_batch", break_at_the_second)
        with pytest.raises(ConnectionError):
            lab.sync().send(run)
    assert sent[0] <= MAX_BATCH
    assert lab.points(lab.sync().send(run).run_id) == expected_points(epochs)


CHANGES = (
    ("update metrics set value = 99 where key = 'val/error' and step = 1", "metric val/error"),
    (
        "insert into metrics select key, 5, timestamp, run_uuid, step, is_nan from metrics where key = 'val/loss'",
        "metric val/loss",
    ),
    ("delete from metrics where key = 'train/loss' and step = 2", "metric train/loss"),
    ("update params set value = '7' where key = 'seed'", "parameter seed"),
    ("delete from params where key like 'optimizer.%'", "parameter optimizer.name"),
    ("delete from inputs", "data set tiny"),
    ("update tags set value = '2' where key = 'lenet.seed'", "tag lenet.seed"),
    ("insert into tags select 'mlflow.parentRunId', 'x', run_uuid from runs", "tag mlflow.parentRunId"),
    ("update runs set status = 'RUNNING'", "status"),
    ("update runs set end_time = 1", "status"),
)


def test_changed_rows_are_found_and_corrected(lab: Lab, make_config: MakeConfig) -> None:
    run = lab.train(make_config())
    lab.sync().send(run)
    right = rows(lab.database)
    for statement, difference in CHANGES:
        lab.execute(statement)
        assert difference in differences(TrackedRun(run), lab.uri), statement
        lab.sync().send(run)
        assert rows(lab.database) == right, statement
        assert is_up_to_date(run, lab.uri), statement


def test_damaged_artifacts_are_sent_again(lab: Lab, make_config: MakeConfig) -> None:
    run = lab.train(make_config())
    draw_plot(run)
    ref = lab.sync().send(run)
    right = lab.artifacts(ref.run_id)
    folder = lab.project.home / "mlartifacts" / "lenet5" / ref.run_id / "artifacts"
    (folder / "config.yaml").unlink()
    (folder / "weights.safetensors").write_bytes(b"cut")
    (folder / "plots" / ".artifact.uploading.x").write_bytes(b"of a killed process")
    assert differences(TrackedRun(run), lab.uri) == ["artifact config.yaml", "artifact weights.safetensors"]
    lab.sync().send(run)
    assert lab.artifacts(ref.run_id) == right


def test_nothing_is_deleted_from_a_database_outside_the_home(
    lab: Lab, make_config: MakeConfig, tmp_path: Path, empty_store: Path
) -> None:
    shared = tmp_path / "elsewhere" / "mlflow.db"
    shared.parent.mkdir()
    shutil.copyfile(empty_store, shared)
    run, uri = lab.train(make_config()), f"sqlite:///{shared}"
    RunSync(lab.project, uri, "lenet5").send(run)
    right = rows(shared)
    with closing(sqlite3.connect(shared)) as connection, connection:
        connection.execute("update params set value = 'theirs' where key = 'seed'")
        connection.execute("delete from metrics where key = 'val/error' and step = 1")
    assert differences(TrackedRun(run), uri) == ["metric val/error"]
    RunSync(lab.project, uri, "lenet5").send(run)
    assert ("seed", "theirs") in rows(shared)["params"]
    assert rows(shared)["metrics"] == right["metrics"]  # what is missing is sent all the same
    assert is_up_to_date(run, uri)


def test_run_of_five_epochs_is_few_requests(lab: Lab, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    counts = Counter[str]()
    for name in ("create_run", "search_runs", "get_run", "get_metric_history", "log_batch", "log_inputs"):
        monkeypatch.setattr(MlflowClient, name, counting(counts, name, getattr(MlflowClient, name)))
    for name in ("update_run", "set_terminated", "log_artifact"):
        monkeypatch.setattr(MlflowClient, name, counting(counts, name, getattr(MlflowClient, name)))
    lab.train(make_config(trainer__epochs=5), lab.sync().send)
    # parameters, five epochs, and the end's tags
    assert counts == {"create_run": 1, "log_batch": 7, "log_inputs": 1, "log_artifact": 2, "set_terminated": 1}


def counting(counts: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def count(*words: Any, **options: Any) -> Any:
        counts[name] += 1
        return call(*words, **options)

    return count


def test_moved_project_takes_its_store_along(lab: Lab, make_config: MakeConfig, tmp_path: Path) -> None:
    run = lab.train(make_config(seed=1))
    ref = lab.sync().send(run)
    with RegisteredModel(lab.project, "classifier", lab.uri) as registry:
        register(registry, ref, run, fill_lightly, {})
    old, new = lab.project.root, tmp_path / "elsewhere" / "the lab"
    new.parent.mkdir()
    shutil.move(old, new)
    old.write_text("nothing can be created here")
    moved = Lab(Project(new, new))
    run = RunDir(moved.project.runs / run.fingerprint)
    (version,) = read_versions(moved.project, moved.uri, "classifier")
    source = version.local_folder
    assert source is not None  # before any path is corrected
    assert source.is_relative_to(new)
    assert verify_manifest(source, version.tags, "")
    assert is_up_to_date(run, moved.uri)
    second = moved.sync().send(moved.train(make_config(seed=2)))
    assert set(moved.artifacts(second.run_id)) == {"config.yaml", "weights.safetensors"}
    assert moved.sync().send(run).run_id == ref.run_id
    with closing(sqlite3.connect(new / "mlflow.db")) as connection:
        assert [line for line in connection.iterdump() if str(old) in line] == []
    assert old.is_file()


def test_copy_of_the_database_alone_keeps_its_paths(lab: Lab, make_config: MakeConfig, tmp_path: Path) -> None:
    ref = lab.sync().send(lab.train(make_config()))
    with closing(sqlite3.connect(lab.database)) as source, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        source.backup(copy)
    client = open_store(lab.project, f"sqlite:///{tmp_path}/copy.db")
    assert client.get_run(ref.run_id).info.artifact_uri.startswith((lab.project.home / "mlartifacts").as_uri())
