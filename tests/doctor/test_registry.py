from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from doctored import MODEL, Sample, change, flip

from lenet.core.atomic_io import write_json
from lenet.doctor.finding import Level
from lenet.doctor.registry import check_registry


def artifacts(sample: Sample) -> Path:
    (folder,) = sample.root.glob("mlartifacts/*/models/*/artifacts")
    return folder


def test_sound_registry_names_its_champion(sample: Sample) -> None:
    (found,) = check_registry(sample.project)
    assert found.level == Level.OK
    assert f"the champion is {MODEL} version 1 (lenet5 seed=1)" in found.text


@pytest.mark.parametrize("name", ["weights.safetensors", "MLmodel", "manifest.json", "all"])
def test_damaged_version(sample: Sample, name: str) -> None:
    if name == "all":
        shutil.rmtree(artifacts(sample))
    else:
        flip(artifacts(sample) / name)
    (found,) = check_registry(sample.project)
    assert found.level == Level.PROBLEM
    assert (name in found.text) or name == "all"
    assert found.remedy.startswith("do not serve it; lenet register")
    assert found.remedy.endswith("then lenet promote")


@pytest.mark.parametrize(
    "statement",
    [
        f"update model_version_tags set value = '{'0' * 64}' where key = 'lenet.weights_sha256'",
        "update model_versions set source = 'file:///elsewhere', storage_location = 'file:///elsewhere'",
    ],
)
def test_version_whose_rows_were_changed(sample: Sample, statement: str) -> None:
    change(sample.database, statement)
    (found,) = check_registry(sample.project)
    assert found.level == Level.PROBLEM


def test_no_champion(sample: Sample) -> None:
    change(sample.database, "delete from registered_model_aliases where alias = 'champion'")
    (found,) = check_registry(sample.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet promote")


def test_run_that_is_missing_or_was_trained_to_other_weights(sample: Sample) -> None:
    run = sample.runs[0]
    status = run.status()
    write_json(run.path / "status.json", status | {"files": status["files"] | {"weights.safetensors": "0" * 64}})
    (found,) = check_registry(sample.project)
    assert (found.level, "to other weights" in found.text) == (Level.WARNING, True)
    shutil.rmtree(run.path)
    (found,) = check_registry(sample.project)
    assert (found.level, f"{run.short} is missing" in found.text) == (Level.WARNING, True)
