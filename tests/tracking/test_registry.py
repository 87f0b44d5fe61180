from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lenet.asking import Origin, ask
from lenet.config import Config
from lenet.data.prepared import load_test, training_digest
from lenet.errors import LenetError
from lenet.evaluation.predict import load_reader, predict_digits
from lenet.project import Project
from lenet.runs import RunFolder
from lenet.tracking.place import Place
from lenet.tracking.projection import Projection
from lenet.tracking.registry import Registered, pack, register
from lenet.tracking.sealed import MANIFEST, MODEL_TAG, check_folder
from lenet.tracking.store import WEIGHTS_TAG, holds_version, open_store, tracking_uri
from lenet.tracking.versions import CHALLENGER, CHAMPION, Version, download_source, read_versions


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

    def register(self, seed: int, model: str = "digits") -> Registered:
        config, folder, place = self.train(seed)

        def fill(packed: Path) -> None:
            pack(self.reader(config, folder), config.data.classes, packed)

        return register(self.project, place, folder, fill, model, {"lenet.seed": str(seed)})

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


def test_the_same_model_twice_is_one_version_and_challenges_the_champion(shelf: Shelf) -> None:
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


def test_models_of_one_run_and_damaged_ones_do_not_share_a_folder(shelf: Shelf) -> None:
    shelf.register(1)
    shelf.register(1, model="letters")
    (first,), (other,) = (read_versions(shelf.project, shelf.uri, model) for model in ("digits", "letters"))
    assert first.source != other.source
    packed = Path(first.source.removeprefix("file://"))
    check_folder(packed, first.tags[MODEL_TAG], "")
    assert {path.name for path in packed.iterdir()} >= {MANIFEST, "MLmodel", "weights.safetensors", "config.yaml"}
    (packed / "MLmodel").write_text("loader_module: mine\n")
    assert shelf.register(1).number == "2"
    again = read_versions(shelf.project, shelf.uri, "digits")[-1]
    assert again.source not in {first.source, other.source}
    check_folder(Path(again.source.removeprefix("file://")), again.tags[MODEL_TAG], "")


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
    assert found.tags == {"lenet.seed": "1", WEIGHTS_TAG: sha256, MODEL_TAG: found.tags[MODEL_TAG]}
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
