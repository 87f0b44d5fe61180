from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet.config.schema import Config
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.data.arrays import load_test, training_digest
from lenet.evaluation.predict import load_reader, predict_digits
from lenet.registry.manifest import MANIFEST, MODEL_TAG, verify_manifest
from lenet.registry.mlflow_registry import Registered, pack, register
from lenet.registry.provenance import MODEL_ID_TAG
from lenet.registry.versions import CHALLENGER, CHAMPION, Version, download_source, read_versions
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.run_sync import RunSync, is_up_to_date
from lenet.tracking.store import WEIGHTS_TAG, holds_version, open_store, tracking_uri
from showcase import fill_lightly


class RegisteredModel:
    """A project whose registry one fills."""

    def __init__(self, project: Project, make_config: Callable[..., Config]) -> None:
        self.project = project
        self.uri = tracking_uri(project)
        self.make_config = make_config

    def train(self, seed: int) -> tuple[Config, RunDir, MlflowRunRef]:
        config = self.make_config(seed=seed)
        digest = training_digest(self.project.prepared("tiny"))
        folder = get_or_train(
            self.project, config, digest, RunMetadata(f"tiny seed={seed}"), lambda _: None, print
        ).folder
        return config, folder, RunSync(self.project, self.uri, "lenet5").send(folder)

    def register(self, seed: int, model: str = "digits") -> Registered:
        config, folder, place = self.train(seed)

        def fill(packed: Path) -> None:
            pack(self.reader(config, folder), config.data.classes, packed)

        return register(self.project, place, folder, fill, model, {"lenet.seed": str(seed)})

    def versions(self) -> list[Any]:
        """Return all versions, the newest first."""
        found = open_store(self.project, self.uri).search_model_versions("name = 'digits'")
        return sorted(found, key=lambda version: -int(version.version))

    def reader(self, config: Config, folder: RunDir) -> Any:
        path = folder.path / "weights.safetensors"
        return load_reader(config, path, folder.status()["files"]["weights.safetensors"])


@pytest.fixture
def shelf(project: Project, make_config: Callable[..., Config], empty_store: Path) -> Iterator[RegisteredModel]:
    shutil.copyfile(empty_store, project.home / "mlflow.db")
    yield RegisteredModel(project, make_config)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def test_the_same_model_twice_is_one_version_and_challenges_the_champion(shelf: RegisteredModel) -> None:
    assert shelf.register(1) == Registered("digits", "1", True, (CHALLENGER,))
    assert shelf.register(1) == Registered("digits", "1", False, (CHALLENGER,))
    client = open_store(shelf.project, shelf.uri)
    client.set_registered_model_alias("digits", CHAMPION, "1")
    assert shelf.register(2) == Registered("digits", "2", True, (CHALLENGER,))
    assert [int(version.version) for version in shelf.versions()] == [2, 1]
    assert int(client.get_model_version_by_alias("digits", CHAMPION).version) == 1
    assert int(client.get_model_version_by_alias("digits", CHALLENGER).version) == 2
    # Asked for again, the champion challenges nobody, and no third version is made.
    assert shelf.register(1) == Registered("digits", "1", False, (CHAMPION,))
    assert len(shelf.versions()) == 2

    # Read without mlflow, the versions are those that it shows, and a deleted one is none.
    one, two = read_versions(shelf.project, shelf.uri, "digits")
    assert (one.number, one.aliases, two.number, two.aliases) == ("1", (CHAMPION,), "2", ())
    for found, expected in zip((two, one), shelf.versions(), strict=True):
        assert (found.source, found.run_id, dict(found.tags)) == (expected.source, expected.run_id, expected.tags)
        assert found.title == f"digits version {expected.version} (tiny seed={found.number})"
    sha256 = two.weights_sha256
    assert holds_version(shelf.uri, "digits", sha256)
    client.delete_model_version("digits", "2")
    assert [version.number for version in read_versions(shelf.project, shelf.uri, "digits")] == ["1"]
    assert holds_version(shelf.uri, "digits", sha256) is False
    assert read_versions(shelf.project, shelf.uri, "letters") == []


def test_models_of_one_run_and_damaged_ones_do_not_share_a_folder(shelf: RegisteredModel) -> None:
    shelf.register(1)
    shelf.register(1, model="letters")
    (first,), (other,) = (read_versions(shelf.project, shelf.uri, model) for model in ("digits", "letters"))
    assert first.source != other.source
    packed = Path(first.source.removeprefix("file://"))
    verify_manifest(packed, first.tags[MODEL_TAG], "")
    assert {path.name for path in packed.iterdir()} >= {MANIFEST, "MLmodel", "weights.safetensors", "config.yaml"}
    (packed / "MLmodel").write_text("loader_module: mine\n")
    assert shelf.register(1).number == "2"
    again = read_versions(shelf.project, shelf.uri, "digits")[-1]
    assert again.source not in {first.source, other.source}
    verify_manifest(Path(again.source.removeprefix("file://")), again.tags[MODEL_TAG], "")


def test_a_version_leads_back_to_its_run_and_predicts_as_the_reader_does(
    shelf: RegisteredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    config, folder, place = shelf.train(1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
    version = shelf.register(1)
    (found,) = shelf.versions()
    sha256 = folder.status()["files"]["weights.safetensors"]
    assert (found.run_id, int(found.version)) == (place.run_id, int(version.number))
    own = {name: found.tags[name] for name in (MODEL_TAG, MODEL_ID_TAG)}
    assert found.tags == {"lenet.seed": "1", WEIGHTS_TAG: sha256, **own}
    packed = Path(mlflow.artifacts.download_artifacts(f"models:/digits@{CHALLENGER}"))
    for name in ("weights.safetensors", "config.yaml"):
        assert (packed / name).read_bytes() == (folder.path / name).read_bytes()
    requirements = (packed / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {"mlflow", "torch", "numpy"}
    images, _ = load_test(shelf.project.prepared("tiny"))
    expected = predict_digits(shelf.reader(config, folder), images)
    model = mlflow.pyfunc.load_model(f"models:/digits@{CHALLENGER}")
    np.testing.assert_allclose(model.predict(images), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(images[:1]), expected[:1], rtol=1e-5, atol=1e-5)
    schema = model.metadata.signature
    assert [(tuple(field.shape), str(field.type)) for field in schema.inputs] == [((-1, 28, 28), "uint8")]
    assert [(tuple(field.shape), str(field.type)) for field in schema.outputs] == [((-1, 10), "float32")]
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(images[:, :20])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("s3://bucket/model", "which needs boto3; pip install boto3 and ask again"),
        ("gs://bucket/model", "which needs google-cloud-storage; pip install google-cloud-storage and ask again"),
        ("http://127.0.0.1:9/model", "which cannot be read here ("),
        (
            "weird://me:secret@somewhere/model",
            "which cannot be read here (MlflowException: Could not find a registered",
        ),
    ],
)
def test_a_source_that_cannot_be_read_here_is_one_line(
    project: Project, tmp_path: Path, source: str, told: str
) -> None:
    if find_spec(told.split()[2].strip(";")) is not None:
        pytest.skip("its package is installed")
    version = Version("digits", "3", (), {}, source, "", 0.0, "")
    with pytest.raises(LenetError) as caught:
        download_source(version, tracking_uri(project), tmp_path)
    line = str(caught.value)
    assert line.startswith(f"digits version 3: its folder is {source.replace(':secret', '')}, {told}")
    assert "secret" not in line
    assert "\n" not in line
    assert len(line) < 450


def test_a_version_is_a_logged_model_with_its_run_its_metrics_and_its_data(shelf: RegisteredModel) -> None:
    _, folder, place = shelf.train(1)
    body = {"test_digest": "d" * 64, "measures": {"test/error": 1.5, "test/loss": 0.25}, "interval": [1.0, 2.0]}
    folder.write("evaluation.json", body | {"evaluated": 1.7e9})
    shelf.register(1)
    shelf.register(1)
    client = open_store(shelf.project, shelf.uri)
    (version,) = shelf.versions()
    (logged,) = client.search_logged_models([place.experiment_id])
    assert (logged.model_id, str(logged.status)) == (version.tags[MODEL_ID_TAG], "READY")
    assert (logged.source_run_id, logged.artifact_location) == (place.run_id, version.source)
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "digits", "version": 1}]
    assert logged.params["optimizer.learning_rate"] == "0.003"
    last, data = folder.history()[-1], folder.identity()["data_digest"][:36]
    assert {(one.key, one.value, one.step, one.dataset_name, one.dataset_digest) for one in logged.metrics} == {
        ("val/error", last["val/error"], 2, "tiny", data),
        ("val/loss", last["val/loss"], 2, "tiny", data),
        ("test/error", 1.5, 2, "tiny", "d" * 36),
        ("test/loss", 0.25, 2, "tiny", "d" * 36),
    }
    run = client.get_run(place.run_id)
    assert [one.model_id for one in run.outputs.model_outputs] == [logged.model_id]
    used = {(one.dataset.digest, one.tags[0].value) for one in run.inputs.dataset_inputs}
    assert used == {(data, "training"), ("d" * 36, "testing")}
    assert len(client.get_metric_history(place.run_id, "val/error")) == 2  # the run's own are not doubled
    assert is_up_to_date(folder, shelf.uri)


REQUESTS = ("create_logged_model", "log_model_artifacts", "set_logged_model_tags", "finalize_logged_model")
REQUESTS += ("log_outputs", "log_batch", "create_model_version", "set_registered_model_alias")


@pytest.mark.parametrize("request_name", REQUESTS)
def test_cut_off_at_any_request_the_next_registers_it_once(
    shelf: RegisteredModel, request_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    _, folder, place = shelf.train(1)

    def register_lightly() -> Registered:
        return register(shelf.project, place, folder, fill_lightly, "digits", {"lenet.seed": "1"})

    real = getattr(MlflowClient, request_name)

    def cut_off(client: MlflowClient, *words: Any, **options: Any) -> Any:
        real(client, *words, **options)
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, request_name, cut_off)
        with pytest.raises(ConnectionError):
            register_lightly()
    assert register_lightly().number == "1"
    client = open_store(shelf.project, shelf.uri)
    (logged,) = client.search_logged_models([place.experiment_id])
    (version,) = shelf.versions()
    assert (str(logged.status), logged.model_id) == ("READY", version.tags[MODEL_ID_TAG])
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "digits", "version": 1}]
    assert sorted(one.key for one in logged.metrics) == ["val/error", "val/loss"]
    assert [one.model_id for one in client.get_run(place.run_id).outputs.model_outputs] == [logged.model_id]
    verify_manifest(Path(version.source.removeprefix("file://")), version.tags[MODEL_TAG], "")
    assert [path.name for path in Path(version.source.removeprefix("file://")).parents[1].iterdir()] == [
        logged.model_id
    ]
