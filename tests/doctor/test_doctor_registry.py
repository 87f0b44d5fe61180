from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from damage import change, flip, levels
from house import MODEL, House

from lenet.core.atomic_io import write_json
from lenet.doctor.finding import Level
from lenet.doctor.registry import check_registry


def artifacts(house: House) -> Path:
    (folder,) = house.root.glob("mlartifacts/*/models/*/artifacts")
    return folder


def test_one_champion_with_its_run_and_its_bytes(house: House) -> None:
    (found,) = check_registry(house.project)
    assert found.level == Level.OK
    assert found.text == (
        f"1 version, each with its run and its bytes; the champion is {MODEL} version 1 (lenet5 seed=1)"
    )


@pytest.mark.parametrize("name", ["weights.safetensors", "MLmodel", "manifest.json"])
def test_a_flipped_bit_in_a_version(house: House, name: str) -> None:
    flip(artifacts(house) / name)
    (found,) = check_registry(house.project)
    assert found.level == Level.PROBLEM
    assert name in found.text
    assert found.remedy == "do not serve it; lenet register makes it anew, then lenet promote"


def test_a_version_whose_artifacts_are_gone(house: House) -> None:
    shutil.rmtree(artifacts(house))
    (found,) = check_registry(house.project)
    assert found.level == Level.PROBLEM


def test_a_version_whose_tags_were_changed(house: House) -> None:
    change(house.database, "update model_version_tags set value = ? where key = 'lenet.weights_sha256'", "0" * 64)
    (found,) = check_registry(house.project)
    assert found.level == Level.PROBLEM
    assert "its weights are not those of its tag" in found.text


def test_a_version_whose_files_are_a_copy_elsewhere(house: House, tmp_path: Path) -> None:
    shutil.copytree(artifacts(house), tmp_path / artifacts(house).parent.name / "artifacts")
    for column in ("source", "storage_location"):
        change(house.database, f"update model_versions set {column} = ?", (tmp_path / "copy").as_uri())
    (found,) = check_registry(house.project)
    assert found.level == Level.PROBLEM
    assert "its files are not where it was registered" in found.text


def test_no_champion(house: House) -> None:
    change(house.database, "delete from registered_model_aliases where alias = 'champion'")
    (found,) = check_registry(house.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet promote")
    assert found.text == f"{MODEL}: 1 version, and no champion yet"


def test_a_run_that_is_gone_or_was_trained_again_to_other_weights(house: House) -> None:
    run = house.runs[0]
    status = run.status()
    files = status["files"] | {"weights.safetensors": "0" * 64}
    write_json(run.path / "status.json", status | {"files": files})
    (found,) = check_registry(house.project)
    assert found.level == Level.WARNING
    assert "trained again here, to other weights" in found.text
    shutil.rmtree(run.path)
    (found,) = check_registry(house.project)
    assert (found.level, found.text.endswith(f"its run folder {run.short} is gone")) == (Level.WARNING, True)


def test_a_registry_that_was_lost(house: House) -> None:
    run = house.runs[0]
    body = {"model": MODEL, "run": run.fingerprint, "weights_sha256": run.status()["files"]["weights.safetensors"]}
    write_json(house.root / "results/registration.json", body)
    assert levels(check_registry(house.project)) == [Level.OK]
    for table in ("model_version_tags", "registered_model_aliases", "model_versions", "registered_models"):
        change(house.database, f"delete from {table}")
    (found,) = check_registry(house.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet sync")
