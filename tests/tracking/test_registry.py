from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet.asking import Origin, ask
from lenet.config import Config
from lenet.data.prepared import load_test, training_digest
from lenet.evaluation.predict import load_reader, predict_digits
from lenet.project import Project
from lenet.runs import RunFolder
from lenet.tracking.projection import Place, Projection
from lenet.tracking.registry import CHALLENGER, CHAMPION, WEIGHTS_TAG, Version, register
from lenet.tracking.store import open_store, tracking_uri


class Shelf:
    """A project whose registry one fills."""

    def __init__(self, project: Project, make_config: Callable[..., Config]) -> None:
        self.project = project
        self.uri = tracking_uri(project)
        self.make_config = make_config

    def train(self, seed: int) -> tuple[Config, RunFolder, Place]:
        config = self.make_config(seed=seed)
        digest = training_digest(self.project.prepared("tiny"))
        folder = ask(self.project, config, digest, Origin(f"tiny seed={seed}"), lambda _: None, print).folder
        return config, folder, Projection(self.project, self.uri, "lenet5").send(folder)

    def register(self, seed: int) -> Version:
        config, folder, place = self.train(seed)
        reader = self.reader(config, folder)
        return register(self.project, place, folder, reader, "digits", {"lenet.seed": str(seed)})

    def versions(self) -> list[Any]:
        """Return all versions, the newest first."""
        found = open_store(self.project, self.uri).search_model_versions("name = 'digits'")
        return sorted(found, key=lambda version: -int(version.version))

    def reader(self, config: Config, folder: RunFolder) -> Any:
        path = folder.path / "weights.safetensors"
        return load_reader(config, path, folder.status()["files"]["weights.safetensors"])


@pytest.fixture
def shelf(project: Project, make_config: Callable[..., Config]) -> Iterator[Shelf]:
    yield Shelf(project, make_config)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def test_the_same_model_twice_is_one_version_and_another_is_the_challenger(shelf: Shelf) -> None:
    first = shelf.register(1)
    assert first == Version("digits", "1", True, (CHALLENGER, CHAMPION))
    assert shelf.register(1) == Version("digits", "1", False, (CHALLENGER, CHAMPION))
    second = shelf.register(2)
    assert second == Version("digits", "2", True, (CHALLENGER,))
    assert [int(version.version) for version in shelf.versions()] == [2, 1]
    client = open_store(shelf.project, shelf.uri)
    assert int(client.get_model_version_by_alias("digits", CHAMPION).version) == 1
    assert int(client.get_model_version_by_alias("digits", CHALLENGER).version) == 2
    # Asked for again, the first is the challenger again and no third version is made.
    assert shelf.register(1) == Version("digits", "1", False, (CHALLENGER, CHAMPION))
    assert len(shelf.versions()) == 2


def test_a_version_leads_back_to_its_run_and_predicts_as_the_reader_does(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    config, folder, place = shelf.train(1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)
    version = shelf.register(1)
    (found,) = shelf.versions()
    sha256 = folder.status()["files"]["weights.safetensors"]
    assert (found.run_id, int(found.version)) == (place.run_id, int(version.number))
    assert found.tags == {"lenet.seed": "1", WEIGHTS_TAG: sha256}
    packed = Path(mlflow.artifacts.download_artifacts(f"models:/digits@{CHAMPION}"))
    for name in ("weights.safetensors", "config.yaml"):
        assert (packed / name).read_bytes() == (folder.path / name).read_bytes()
    requirements = (packed / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {"mlflow", "torch", "numpy"}
    images, _ = load_test(shelf.project.prepared("tiny"))
    expected = predict_digits(shelf.reader(config, folder), images)
    model = mlflow.pyfunc.load_model(f"models:/digits@{CHAMPION}")
    np.testing.assert_allclose(model.predict(images), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.predict(images[:1]), expected[:1], rtol=1e-5, atol=1e-5)
    schema = model.metadata.signature
    assert [(tuple(field.shape), str(field.type)) for field in schema.inputs] == [((-1, 28, 28), "uint8")]
    assert [(tuple(field.shape), str(field.type)) for field in schema.outputs] == [((-1, 10), "float32")]
    with pytest.raises(mlflow.exceptions.MlflowException):
        model.predict(images[:, :20])
