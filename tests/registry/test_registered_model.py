"""A version is found by its names, and loaded only when its files and tags are what was registered."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from lenet.core.atomic_io import write_json
from lenet.core.errors import DamagedError, LenetError
from lenet.core.project import Project
from lenet.registry.manifest import write_manifest
from lenet.registry.registered_model import RegisteredModel, UnknownModelError, registry_uri
from lenet.registry.versions import Version, download
from lenet.tracking.store import open_store, tracking_uri
from showcase import MODEL, Showcase, files, flip


def verify(showcase: Showcase, number: str = "1") -> None:
    with RegisteredModel(showcase.project, MODEL) as registry:
        model = registry.verify(registry.find_version(number))
        assert model.weights_sha256 == registry.find_version(number).weights_sha256
        assert model.config == showcase.config


@pytest.mark.parametrize("name", ["weights.safetensors", "config.yaml", "MLmodel", "data/model.pt2", "manifest.json"])
def test_a_flipped_bit_in_any_file_is_refused(showcase: Showcase, name: str) -> None:
    showcase.register()
    verify(showcase)
    flip(files(showcase, "1") / name)
    with pytest.raises(DamagedError, match=name) as caught:
        verify(showcase)
    assert "\n" not in str(caught.value)
    flip(files(showcase, "1") / name)
    (files(showcase, "1") / name).unlink()
    with pytest.raises(DamagedError, match=f"{name}: is missing"):
        verify(showcase)
    assert showcase.register().number == "2"  # the same weights again
    verify(showcase, "2")


TAGS = ("lenet.weights_sha256", "lenet.fingerprint", "lenet.data_digest", "lenet.model_sha256", "lenet.model_id")


@pytest.mark.parametrize("name", [*TAGS, "lenet.git_commit"])
@pytest.mark.parametrize("value", ["0" * 64, ""])
def test_a_changed_tag_is_refused(showcase: Showcase, name: str, value: str) -> None:
    showcase.register()
    open_store(showcase.project, tracking_uri(showcase.project)).set_model_version_tag(MODEL, "1", name, value)
    with pytest.raises(DamagedError):
        verify(showcase)
    assert showcase.register().number == "2"
    verify(showcase, "2")


def test_a_manifest_without_provenance_is_refused(showcase: Showcase) -> None:
    showcase.register()
    folder = files(showcase, "1")
    (folder / "manifest.json").unlink()
    digest = write_manifest(folder, {})
    client = open_store(showcase.project, tracking_uri(showcase.project))
    client.set_model_version_tag(MODEL, "1", "lenet.model_sha256", digest)
    with pytest.raises(DamagedError, match=r"tag lenet\.fingerprint is not what was registered"):
        verify(showcase)


def test_a_damaged_version_is_loaded_from_its_run_directory(showcase: Showcase, said: list[str]) -> None:
    showcase.register(3)
    flip(files(showcase, "1") / "weights.safetensors")
    with RegisteredModel(showcase.project, MODEL) as registry:
        model = registry.load(registry.find_version("1"))
        assert model.weights == showcase.run(3).path / "weights.safetensors"
        assert "instead" in said[-1]
        flip(model.weights)
        with pytest.raises(DamagedError):
            registry.load(registry.find_version("1"))


def test_a_network_is_found_by_version_alias_and_fingerprint(showcase: Showcase) -> None:
    showcase.register(3)
    showcase.register(4, model="others")
    run = showcase.run(5)
    with RegisteredModel(showcase.project, MODEL) as registry:
        for name in ("1", "@challenger", f"{MODEL}/1", f"{MODEL}@challenger"):
            assert registry.find_model(name).fingerprint == showcase.run(3).fingerprint
        assert registry.find_model("others/1").fingerprint == showcase.run(4).fingerprint
        assert registry.find_model(run.fingerprint[:10]).fingerprint == run.fingerprint
        registered = showcase.run(3).fingerprint
        shutil.rmtree(showcase.run(3).path)
        assert registry.find_model(registered[:10]).name.startswith(f"{MODEL} version 1")
        for name in ("7", "@champion", "others/2", "nothing/1", "abcdef", "best one"):
            with pytest.raises(UnknownModelError, match=f"^{name}: "):
                registry.find_model(name)


def test_a_clone_finds_its_registry_by_what_the_pipeline_left(showcase: Showcase, tmp_path: Path) -> None:
    folder, path = showcase.run(1), showcase.project.root / "results/registration.json"
    known = {"model": MODEL, "run": folder.fingerprint, "weights_sha256": "0" * 64}
    uri = f"sqlite:///{tmp_path}/named.db"
    write_json(path, known | {"tracking_uri": uri})
    assert registry_uri(showcase.project) == tracking_uri(showcase.project)  # the run's own config, where it is here
    shutil.rmtree(folder.path)
    assert registry_uri(showcase.project) == uri
    for older in ({}, {"tracking_uri": None}):
        write_json(path, known | older)
        assert registry_uri(showcase.project) == tracking_uri(showcase.project)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("s3://bucket/model", "needs the package boto"),
        ("http://127.0.0.1:9/model", ""),
        ("weird://me:secret@somewhere/model", "Could not find a registered artifact repository"),
    ],
)
def test_files_at_an_address_that_cannot_be_read_are_one_line(
    project: Project, tmp_path: Path, source: str, why: str
) -> None:
    if "boto" in why and find_spec("boto3") is not None:
        pytest.skip("boto3 is installed")
    version = Version(MODEL, "3", (), {}, source, "", 0.0, "")
    with pytest.raises(LenetError) as caught:
        download(version, tracking_uri(project), tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{MODEL} version 3: its files at {source.replace(':secret', '')} cannot be read here (")
    assert why in line
    assert "secret" not in line
    assert "\n" not in line
