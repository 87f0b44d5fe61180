"""The run folders, and what MLflow shows of them."""

from __future__ import annotations

import shutil

import pytest
from damage import change, flip, levels
from house import House, lenet

from lenet.core.atomic_io import atomic_write
from lenet.core.file_lock import locked
from lenet.data.arrays import training_digest
from lenet.doctor.finding import Level
from lenet.doctor.mlflow_runs import check_shown
from lenet.doctor.partial_files import check_leftovers
from lenet.doctor.runs import check_runs
from lenet.runs.get_or_train import RunMetadata, get_or_train


def test_a_flipped_bit_in_a_runs_weights_and_the_remedy(house: House) -> None:
    run = house.runs[0]
    before = (run.path / "weights.safetensors").read_bytes()
    flip(run.path / "weights.safetensors")
    (found,) = check_runs(house.project)
    assert found.level == Level.PROBLEM
    assert found.text.startswith(f"{run.short}: weights.safetensors: sha256 is ")
    words = "experiment=lenet5 data=tiny trainer=cpu trainer.epochs=1 trainer.threads=1 seed=1"
    assert found.remedy == f"python train.py {words}: it is trained anew, to the same weights"
    digest = training_digest(house.project.prepared("tiny"))
    get_or_train(house.project, run.config(), digest, RunMetadata("again"), lambda _: None, lambda _: None)
    assert levels(check_runs(house.project)) == [Level.OK]
    assert (run.path / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["status.json", "history.json", "validation.npz", "run.json"])
def test_a_flipped_bit_in_another_file_of_a_run(house: House, name: str) -> None:
    run = house.runs[1]
    flip(run.path / name)
    (found,) = check_runs(house.project)
    assert found.level == Level.PROBLEM
    assert found.text.startswith(f"{run.short}: {name}: ")
    assert str(house.root) not in found.text
    assert ("lenet clean" in found.remedy) == (name == "run.json")


def test_what_lacks_in_a_run(house: House) -> None:
    first, second = house.runs
    (first.path / "config.yaml").unlink()
    second.path.rename(second.path.with_name("0" * 64))
    found = check_runs(house.project)
    assert levels(found) == [Level.PROBLEM] * 2
    assert {finding.text.partition(": ")[2] for finding in found} == {
        "config.yaml: is missing",
        f"is run {second.short} under another name",
    }


def test_a_run_that_never_began_and_one_at_work(house: House) -> None:
    first = house.runs[0]
    empty = house.project.runs / ("f" * 64)
    empty.mkdir()
    (found,) = check_runs(house.project)
    assert (found.level, found.text) == (Level.WARNING, "no run.json, never begun: ffffffffffff")
    flip(first.path / "weights.safetensors")
    with locked(empty / "lock"), locked(first.lock):
        (found,) = check_runs(house.project)
    assert found.text == "3 runs (2 at work, 1 finished), every seal and digest right"


def test_a_run_that_mlflow_lost_and_the_remedy(house: House) -> None:
    run = house.runs[1]
    change(house.database, "update runs set lifecycle_stage = 'deleted' where name = 'lenet5 seed=2'")
    (found,) = check_shown(house.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet sync")
    assert found.text == f"1 run not in MLflow, or not as they are now: {run.short}"
    assert lenet(house.root, "sync").returncode == 0
    assert levels(check_shown(house.project)) == [Level.OK]


def test_a_run_whose_process_is_gone(house: House) -> None:
    run = house.runs[0]
    status = run.status()
    run.write("status.json", status | {"state": "RUNNING"})
    with locked(run.lock):
        assert levels(check_shown(house.project)) == [Level.OK]
    (found,) = check_shown(house.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet sync")
    assert lenet(house.root, "sync").returncode == 0
    assert levels(check_shown(house.project)) == [Level.OK]


def test_rows_of_mlflow_that_somebody_changed_and_the_remedy(house: House) -> None:
    run = house.runs[0]
    change(house.database, "update runs set status = 'RUNNING' where name = 'lenet5 seed=1'")
    (found,) = check_shown(house.project)
    assert (found.level, found.remedy) == (Level.WARNING, "lenet sync")
    assert found.text == f"1 run that MLflow shows otherwise than the folders: {run.short} (status)"
    change(house.database, "update latest_metrics set value = 99 where key = 'val/error'")
    change(house.database, "update metrics set value = 99 where key = 'val/error'")
    (found,) = check_shown(house.project)
    assert "2 runs that MLflow shows otherwise" in found.text
    assert f"{run.short} (metric val/error, status)" in found.text
    assert lenet(house.root, "sync").returncode == 0
    assert levels(check_shown(house.project)) == [Level.OK]


def test_a_run_in_mlflow_without_a_folder(house: House) -> None:
    run = house.runs[1]
    shutil.rmtree(run.path)
    (found,) = check_shown(house.project)
    assert (found.level, found.text) == (Level.WARNING, f"1 run in mlflow.db without a folder: {run.short}")


def test_half_written_files(house: House) -> None:
    assert levels(check_leftovers(house.project)) == [Level.OK]
    with atomic_write(house.root / "results" / "report.html") as own:
        own.write_bytes(b"x")
        assert levels(check_leftovers(house.project)) == [Level.OK]
    left = own.with_name(".report.html.0123456789abcdef.partial")
    left.write_bytes(b"x")
    in_run = house.runs[0].path / ".status.json.0123456789abcdef.partial"
    in_run.write_bytes(b"x")
    (found,) = check_leftovers(house.project)
    assert found.level == Level.WARNING
    assert found.text.startswith("2 half-written files of killed processes")
    assert found.remedy == f"lenet clean --yes; rm -f {left}"
