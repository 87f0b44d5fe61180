from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet.config.schema import Config
from lenet.core.project import Project
from lenet.data.arrays import load_test, training_digest
from lenet.evaluation.predict import predict as predict
from lenet.evaluation.trained_model import from_run
from lenet.registry.manifest import MANIFEST, MODEL_ID_TAG, verify_manifest
from lenet.registry.packaging import pack_torch
from lenet.registry.register import register
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import CHALLENGER, CHAMPION, Version, read_versions
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.run_sync import RunSync, is_up_to_date
from lenet.tracking.store import open_store, tracking_uri
from showcase import fill_lightly

MODEL = "classifier"


class Registry:
    """A project whose registry a test fills with trained runs."""

    def __init__(self, project: Project, make_config: Callable[..., Config]) -> None:
        self.project = project
        self.uri = tracking_uri(project)
        self.make_config = make_config

    def train(self, seed: int) -> tuple[RunDir, MlflowRunRef]:
        config = self.make_config(seed=seed, trainer__epochs=1)
        digest = training_digest(self.project.prepared("tiny"))
        run_dir = get_or_train(self.project, config, digest, RunMetadata(f"tiny seed={seed}")).run_dir
        return run_dir, RunSync(self.project, self.uri, "lenet5").send(run_dir)

    def register(self, seed: int, model: str = MODEL) -> tuple[Version, bool]:
        run_dir, run_ref = self.train(seed)
        with RegisteredModel(self.project, model, self.uri) as registry:
            return register(registry, run_ref, run_dir, fill_lightly, {})

    def versions(self, model: str = MODEL) -> list[Version]:
        return read_versions(self.project, self.uri, model)


@pytest.fixture
def registry(project: Project, make_config: Callable[..., Config], empty_store: Path) -> Iterator[Registry]:
    shutil.copyfile(empty_store, project.home / "mlflow.db")
    yield Registry(project, make_config)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def test_the_same_weights_are_one_version_that_challenges_the_champion(registry: Registry) -> None:
    def state(version: Version, is_new: bool) -> tuple[str, tuple[str, ...], bool]:
        return version.number, version.aliases, is_new

    assert state(*registry.register(1)) == ("1", (CHALLENGER,), True)
    assert state(*registry.register(1)) == ("1", (CHALLENGER,), False)
    client = open_store(registry.project, registry.uri)
    client.set_registered_model_alias(MODEL, CHAMPION, "1")
    assert state(*registry.register(2)) == ("2", (CHALLENGER,), True)
    assert state(*registry.register(1)) == ("1", (CHAMPION,), False)  # nothing challenges it now
    assert [one.aliases for one in registry.versions()] == [(CHAMPION,), ()]
    assert registry.register(1, "others")[0].number == "1"
    assert registry.versions()[0].source != registry.versions("others")[0].source


def test_versions_read_by_sql_are_those_of_the_client(registry: Registry) -> None:
    registry.register(1)
    registry.register(2)
    client = open_store(registry.project, registry.uri)
    shown = sorted(client.search_model_versions(f"name = '{MODEL}'"), key=lambda one: int(one.version))
    for found, expected in zip(registry.versions(), shown, strict=True):
        assert (found.number, found.source, found.run_id) == (str(expected.version), expected.source, expected.run_id)
        assert (dict(found.tags), found.created) == (expected.tags, expected.creation_timestamp / 1000)
        assert found.title == f"{MODEL} version {expected.version} (tiny seed={found.number})"
    client.delete_model_version(MODEL, "2")
    assert [version.number for version in registry.versions()] == ["1"]
    assert registry.versions("nothing") == []


def test_a_version_leads_back_to_its_run_and_predicts_as_it_does(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    run_dir, run_ref = registry.train(1)
    model = from_run(run_dir)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", run_ref.uri)
    mlflow.set_tracking_uri(None)  # what an earlier test of this process set goes before the variable
    with RegisteredModel(registry.project, MODEL, run_ref.uri) as registered:
        version, _ = register(
            registered, run_ref, run_dir, lambda into: pack_torch(model.load(), 10, into), {"lenet.test_error": "1.00"}
        )
    assert version.run_id == run_ref.run_id
    expected = {
        "lenet.fingerprint": run_dir.fingerprint,
        "lenet.weights_sha256": model.weights_sha256,
        "lenet.data": "tiny",
        "lenet.data_digest": model.data_digest,
        "lenet.seed": "1",
        "lenet.test_error": "1.00",
    }
    assert version.tags.items() >= expected.items()
    files = Path(mlflow.artifacts.download_artifacts(f"models:/{MODEL}@{CHALLENGER}"))
    assert {path.name for path in files.iterdir()} >= {MANIFEST, "MLmodel", "weights.safetensors", "config.yaml"}
    for name in ("weights.safetensors", "config.yaml"):
        assert (files / name).read_bytes() == (run_dir.path / name).read_bytes()
    images, _ = load_test(registry.project.prepared("tiny"))
    served = mlflow.pyfunc.load_model(f"models:/{MODEL}@{CHALLENGER}")
    np.testing.assert_allclose(served.predict(images), predict(model.load(), images), rtol=1e-5, atol=1e-5)


def test_a_version_is_a_logged_model_with_its_run_its_metrics_and_its_data(registry: Registry) -> None:
    run_dir, run_ref = registry.train(1)
    body = {"test_digest": "d" * 64, "measures": {"test/error": 1.5, "test/loss": 0.25}, "interval": [1.0, 2.0]}
    run_dir.write("evaluation.json", body | {"evaluated": 1.7e9})
    registry.register(1)
    registry.register(1)
    client = open_store(registry.project, registry.uri)
    (version,) = registry.versions()
    (logged,) = client.search_logged_models([run_ref.experiment_id])
    assert (logged.model_id, str(logged.status)) == (version.tags[MODEL_ID_TAG], "READY")
    assert (logged.source_run_id, logged.artifact_location) == (run_ref.run_id, version.source)
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": MODEL, "version": 1}]
    assert logged.params["optimizer.learning_rate"] == "0.003"
    last, data = run_dir.history()[-1], run_dir.identity()["data_digest"][:36]
    assert {(one.key, one.value, one.step, one.dataset_name, one.dataset_digest) for one in logged.metrics} == {
        ("val/error", last["val/error"], 1, "tiny", data),
        ("val/loss", last["val/loss"], 1, "tiny", data),
        ("test/error", 1.5, 1, "tiny", "d" * 36),
        ("test/loss", 0.25, 1, "tiny", "d" * 36),
    }
    run = client.get_run(run_ref.run_id)
    assert [one.model_id for one in run.outputs.model_outputs] == [logged.model_id]
    assert len(client.get_metric_history(run_ref.run_id, "val/error")) == 1  # the run's own are not doubled
    assert is_up_to_date(run_dir, registry.uri)


REQUESTS = ("create_logged_model", "log_model_artifacts", "finalize_logged_model", "create_model_version")
REQUESTS += ("log_outputs", "log_batch", "set_logged_model_tags", "set_registered_model_alias")


@pytest.mark.parametrize("request_name", REQUESTS)
def test_interrupted_after_any_request_the_next_command_registers_it_once(
    registry: Registry, request_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    _, run_ref = registry.train(1)
    real = getattr(MlflowClient, request_name)

    def cut_off(client: MlflowClient, *words: Any, **options: Any) -> Any:
        real(client, *words, **options)
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, request_name, cut_off)
        with pytest.raises(ConnectionError):
            registry.register(1)
    assert registry.register(1)[0].number == "1"
    client = open_store(registry.project, registry.uri)
    (logged,) = client.search_logged_models([run_ref.experiment_id])
    (version,) = registry.versions()
    assert (str(logged.status), logged.model_id) == ("READY", version.tags[MODEL_ID_TAG])
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": MODEL, "version": 1}]
    assert sorted(one.key for one in logged.metrics) == ["val/error", "val/loss"]
    assert [one.model_id for one in client.get_run(run_ref.run_id).outputs.model_outputs] == [logged.model_id]
    folder = version.local_folder
    assert folder is not None
    verify_manifest(folder, version.tags, "")
    assert [path.name for path in folder.parents[1].iterdir()] == [logged.model_id]
