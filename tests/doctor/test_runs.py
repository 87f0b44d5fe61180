from __future__ import annotations

import pytest
from doctored import Sample, flip, levels

from lenet.core.file_lock import locked
from lenet.data.arrays import training_digest
from lenet.doctor.finding import Level
from lenet.doctor.runs import check_runs
from lenet.runs.get_or_train import RunMetadata, get_or_train


def test_flipped_bit_in_weights_and_the_remedy(sample: Sample) -> None:
    run = sample.runs[0]
    before = (run.path / "weights.safetensors").read_bytes()
    flip(run.path / "weights.safetensors")
    (found,) = check_runs(sample.project)
    assert found.level == Level.PROBLEM
    assert found.text.startswith(f"{run.short}: weights.safetensors: ")
    assert found.remedy.startswith("python train.py experiment=lenet5 data=tiny ")
    digest = training_digest(sample.project.prepared("tiny"))
    get_or_train(sample.project, run.config(), digest, RunMetadata("again"))
    assert levels(check_runs(sample.project)) == [Level.OK]
    assert (run.path / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["status.json", "history.json", "validation.npz", "run.json", "config.yaml"])
def test_flipped_bit_in_another_file(sample: Sample, name: str) -> None:
    run = sample.runs[1]
    flip(run.path / name)
    (found,) = check_runs(sample.project)
    assert found.level == Level.PROBLEM
    assert found.text.startswith(f"{run.short}: {name}: ")
    assert str(sample.root) not in found.text
    assert ("lenet clean" in found.remedy) == (name == "run.json")


def test_renamed_run_directory(sample: Sample) -> None:
    run = sample.runs[1]
    run.path.rename(run.path.with_name("0" * 64))
    (found,) = check_runs(sample.project)
    assert found.level == Level.PROBLEM


def test_run_that_never_started_and_runs_in_training(sample: Sample) -> None:
    first = sample.runs[0]
    empty = sample.project.runs / ("f" * 64)
    empty.mkdir()
    (found,) = check_runs(sample.project)
    assert (found.level, found.remedy) == (Level.WARNING, "rm -r runs/ffffffffffff*")
    flip(first.path / "weights.safetensors")
    with locked(empty / "lock"), locked(first.lock):
        (found,) = check_runs(sample.project)
    assert (found.level, "2 in training" in found.text) == (Level.OK, True)
