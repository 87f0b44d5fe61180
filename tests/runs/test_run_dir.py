from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from lenet.config.schema import Config
from lenet.core.atomic_io import sha256_file
from lenet.core.errors import ConfigError, LenetError, RunFailedError, Stopped
from lenet.core.file_lock import is_held, locked
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.runs.fingerprint import code_digest, fingerprint
from lenet.runs.get_or_train import RunMetadata, RunResult, get_or_train, mark_pruned
from lenet.runs.run_dir import RunDir, all_runs, find_run, run_dir_for

MakeConfig = Callable[..., Config]
ORIGIN = RunMetadata("tiny seed=1", "a sweep", ("seed=1",))

TRAIN = """
import sys, json, time
from pathlib import Path
from lenet.config.schema import parse_config
from lenet.data.arrays import training_digest
from lenet.core.project import Project
from lenet.runs.get_or_train import RunMetadata, get_or_train
root = Path(sys.argv[1])
project = Project(root, root)
config = parse_config(json.loads(sys.argv[2]))
def told(folder):
    print("epochs", len(folder.history()), flush=True)
digest = training_digest(project.prepared("tiny"))
print(get_or_train(project, config, digest, RunMetadata("tiny"), told).outcome, flush=True)
"""


class Asker:
    """Asks for runs in a project, and notes what is told.

    Attributes:
        states: the run's state at each change.
        stop_after: epochs after which the training is stopped.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.digest = training_digest(project.prepared("tiny"))
        self.states: list[str | None] = []
        self.stop_after: int | None = None

    def __call__(self, config: Config, origin: RunMetadata = ORIGIN) -> RunResult:
        return get_or_train(self.project, config, self.digest, origin, self._changed)

    def _changed(self, folder: RunDir) -> None:
        self.states.append(folder.state())
        if len(folder.history()) == self.stop_after and folder.status()["state"] == "RUNNING":
            raise Stopped(signal.SIGTERM)


@pytest.fixture
def asker(project: Project) -> Asker:
    return Asker(project)


@pytest.fixture
def config(make_config: MakeConfig) -> Config:
    return make_config()


def test_a_run_is_trained_and_its_folder_is_the_truth(asker: Asker, config: Config, said: list[str]) -> None:
    outcome = asker(config)
    folder = outcome.run_dir
    assert outcome.outcome == "trained"
    assert folder.path == asker.project.runs / fingerprint(config, asker.digest)
    assert folder == run_dir_for(asker.project, config, asker.digest)
    assert asker.states == ["RUNNING", "RUNNING", "RUNNING", "RUNNING", "FINISHED"]
    assert {path.name for path in folder.path.iterdir()} == {
        "run.json",
        "config.yaml",
        "status.json",
        "history.json",
        "weights.safetensors",
        "validation.npz",
        "lock",
    }
    assert folder.identity() == {
        "name": "tiny seed=1",
        "fingerprint": folder.fingerprint,
        "config": config.tree(),
        "config_sha256": sha256_file(folder.path / "config.yaml"),
        "data_digest": asker.digest,
        "code_digest": code_digest("lenet5"),
        "overrides": ["seed=1"],
        "sweeps": ["a sweep"],
        "tracking": {"uri": None, "experiment": "lenet5"},
    }
    assert folder.config() == config
    assert yaml.safe_load((folder.path / "config.yaml").read_text()) == config.tree()
    status = folder.status()
    assert (status["state"], status["message"]) == ("FINISHED", "")
    assert status["files"] == {
        name: sha256_file(folder.path / name) for name in ("weights.safetensors", "validation.npz", "history.json")
    }
    (attempt,) = status["attempts"]
    assert attempt["pid"] == os.getpid()
    assert 0 < attempt["ended"] - attempt["started"] < 60
    assert attempt["after_epoch"] == 0
    assert (attempt["threads"], folder.threads()) == (1, (1,))
    assert set(attempt["git"]) == {"commit", "dirty"}
    assert attempt["versions"]["python"] == sys.version.split()[0]
    assert len(folder.history()) == 2
    assert folder.headline() == {
        name: folder.history()[-1][name] for name in ("val/error", "val/loss", "train/error", "train/loss")
    }
    assert said == []


def test_a_finished_run_is_there_at_once(asker: Asker, config: Config) -> None:
    folder = asker(config).run_dir
    before = {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir() if path.name != "lock"}
    asker.states.clear()
    outcome = asker(config)
    assert outcome == RunResult(folder, "already trained")
    assert asker.states == []
    assert {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir() if path.name != "lock"} == before


def test_a_name_device_or_store_is_the_same_run_and_a_seed_another(asker: Asker, make_config: MakeConfig) -> None:
    first = asker(make_config()).run_dir
    same = make_config(name="b", trainer__threads=2, tracking__experiment="x", trainer__accelerator="auto")
    assert asker(same) == RunResult(first, "already trained")
    other = asker(make_config(seed=2))
    assert other.outcome == "trained"
    assert other.run_dir != first
    assert {folder.fingerprint for folder in all_runs(asker.project)} == {first.fingerprint, other.run_dir.fingerprint}


def test_another_sweep_is_written_down_once_and_told(asker: Asker, config: Config) -> None:
    folder = asker(config).run_dir
    asker.states.clear()
    assert asker(config, RunMetadata("again", "another sweep")).outcome == "already trained"
    assert folder.identity()["sweeps"] == ["a sweep", "another sweep"]
    assert folder.identity()["name"] == "tiny seed=1"
    assert asker.states == ["FINISHED"]
    asker(config, RunMetadata("again", "another sweep"))
    asker(config, RunMetadata("again", None))
    assert folder.identity()["sweeps"] == ["a sweep", "another sweep"]
    assert asker.states == ["FINISHED"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("weights.safetensors", "flip"),
        ("weights.safetensors", "delete"),
        ("validation.npz", "flip"),
        ("validation.npz", "delete"),
        ("history.json", "flip"),
        ("history.json", "delete"),
        ("status.json", "flip"),
    ],
)
def test_damaged_results_are_trained_anew_to_the_same_weights(
    asker: Asker, config: Config, said: list[str], name: str, damage: str
) -> None:
    folder = asker(config).run_dir
    weights = folder.status()["files"]["weights.safetensors"]
    path = folder.path / name
    if damage == "delete":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert asker(config) == RunResult(folder, "trained")
    (line,) = said
    assert line.startswith(f"{path}: ")
    assert line.endswith("; training it again")
    assert folder.state() == "FINISHED"
    folder.check()
    assert folder.status()["files"]["weights.safetensors"] == weights
    assert asker(config).outcome == "already trained"


def test_without_a_status_it_is_trained_anew(asker: Asker, config: Config) -> None:
    folder = asker(config).run_dir
    weights = folder.status()["files"]["weights.safetensors"]
    (folder.path / "status.json").unlink()
    asker(config)
    assert folder.status()["files"]["weights.safetensors"] == weights


def test_what_was_trained_from_the_start_is_not_called_resumed(asker: Asker, config: Config) -> None:
    folder = asker(config).run_dir
    (folder.path / "status.json").unlink()
    assert asker(config).outcome == "trained"
    assert folder.status()["attempts"][-1]["after_epoch"] == 0


def test_a_damaged_question_is_written_again(asker: Asker, config: Config) -> None:
    folder = asker(config).run_dir
    before = folder.identity()
    (folder.path / "run.json").write_text("{")
    assert asker(config).outcome == "already trained"
    assert folder.identity() == before


def test_an_interrupted_run_goes_on_to_the_same_weights(asker: Asker, make_config: MakeConfig) -> None:
    config = make_config(trainer__epochs=3)
    whole = asker(config).run_dir
    weights = whole.status()["files"]["weights.safetensors"]
    whole.path.rename(asker.project.root / "whole")
    asker.stop_after = 1
    with pytest.raises(Stopped):
        asker(config)
    folder = run_dir_for(asker.project, config, asker.digest)
    status = folder.status()
    assert (status["state"], status["message"]) == ("KILLED", f"stopped by signal {int(signal.SIGTERM)}")
    assert status["files"] == {}
    assert status["attempts"][0]["ended"] is not None
    assert len(folder.history()) == 1
    assert list((folder.path / "checkpoints").iterdir())
    asker.stop_after = None
    assert asker(config).outcome == "resumed after epoch 1"
    assert [attempt["after_epoch"] for attempt in folder.status()["attempts"]] == [0, 1]
    assert folder.status()["files"]["weights.safetensors"] == weights
    assert [row["epoch"] for row in folder.history()] == [1, 2, 3]
    assert not (folder.path / "checkpoints").exists()


def test_a_signal_between_two_epochs_is_killed_and_not_failed(asker: Asker, config: Config) -> None:
    def terminate(folder: RunDir) -> None:
        if len(folder.history()) == 1 and folder.status()["state"] == "RUNNING":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        get_or_train(asker.project, config, asker.digest, ORIGIN, terminate)
    assert run_dir_for(asker.project, config, asker.digest).status()["state"] == "KILLED"


def diverging(make_config: MakeConfig) -> Config:
    sgd: dict[str, Any] = {"name": "sgd", "learning_rate": 100.0, "momentum": 0.99, "nesterov": False}
    sgd |= {"weight_decay": 10.0, "label_smoothing": 0.0, "schedule": {"name": "constant"}}
    return make_config(optimizer=sgd, model__activation="relu", trainer__epochs=20)


def test_a_run_that_fails_for_good_is_answered_at_once(asker: Asker, make_config: MakeConfig) -> None:
    config = diverging(make_config)
    with pytest.raises(RunFailedError, match=r"^the loss is not finite in epoch"):
        asker(config)
    folder = run_dir_for(asker.project, config, asker.digest)
    status = folder.status()
    assert (status["state"], status["final"], len(status["attempts"])) == ("FAILED", True, 1)
    assert status["message"].startswith("the loss is not finite in epoch")
    assert not (folder.path / "weights.safetensors").exists()
    assert not (folder.path / "checkpoints").exists()
    before = (folder.path / "status.json").stat().st_mtime_ns
    with pytest.raises(
        RunFailedError, match=rf"^{folder.short}: failed before and would again: the loss is not finite"
    ):
        asker(config)
    assert (folder.path / "status.json").stat().st_mtime_ns == before


def test_a_run_that_failed_for_another_reason_is_tried_again(asker: Asker, config: Config) -> None:
    images = asker.project.prepared("tiny") / "train" / "images.npy"
    content = images.read_bytes()
    images.write_bytes(content[:-1])
    with pytest.raises(LenetError, match="sha256 is"):
        asker(config)
    folder = run_dir_for(asker.project, config, asker.digest)
    assert folder.state() == "FAILED"
    assert folder.status()["message"].startswith("DamagedError: ")
    images.write_bytes(content)
    assert asker(config).outcome == "trained"
    assert [attempt["ended"] is not None for attempt in folder.status()["attempts"]] == [True, True]


def test_running_without_its_process_is_killed(asker: Asker, config: Config) -> None:
    folder = asker(config).run_dir
    status = folder.status()
    folder.write("status.json", status | {"state": "RUNNING"})
    assert folder.state() == "KILLED"
    assert folder.status()["state"] == "RUNNING"
    with locked(folder.lock):
        assert folder.state() == "RUNNING"
    (folder.path / "status.json").write_text("{")
    assert folder.state() == "DAMAGED"
    (folder.path / "status.json").unlink()
    assert folder.state() is None


def test_after_kill_9_it_goes_on_to_the_same_weights(asker: Asker, make_config: MakeConfig) -> None:
    config = make_config(trainer__epochs=15)
    command = [sys.executable, "-c", TRAIN, str(asker.project.root), json.dumps(config.tree())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "epochs 3":
        assert process.poll() is None
    folder = run_dir_for(asker.project, config, asker.digest)
    assert (is_held(folder.lock), folder.state()) == (True, "RUNNING")
    process.kill()
    process.communicate()
    assert (is_held(folder.lock), folder.state()) == (False, "KILLED")
    done = len(folder.history())
    assert 3 <= done < 15
    (folder.path / ".weights.safetensors.1.partial").write_bytes(b"half")
    assert asker(config).outcome == f"resumed after epoch {done}"
    assert not list(folder.path.rglob("*.partial"))
    weights = folder.status()["files"]["weights.safetensors"]
    folder.path.rename(asker.project.root / "interrupted")
    assert asker(config).run_dir.status()["files"]["weights.safetensors"] == weights


def test_two_who_ask_at_once_train_once(asker: Asker, config: Config) -> None:
    command = [sys.executable, "-c", TRAIN, str(asker.project.root), json.dumps(config.tree())]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(lines[-1] for lines in told) == ["already trained", "trained"]
    assert len(run_dir_for(asker.project, config, asker.digest).status()["attempts"]) == 1


def test_runs_are_listed_oldest_first_and_found_by_their_start(asker: Asker, make_config: MakeConfig) -> None:
    project = asker.project
    assert all_runs(project) == []
    folders = [asker(make_config(seed=seed)).run_dir for seed in (3, 1, 2)]
    for age, folder in enumerate(folders):
        os.utime(folder.path / "config.yaml", (1000 + age, 1000 + age))
    (project.runs / ".sweeps" / "12").mkdir(parents=True)
    (project.runs / "empty").mkdir()
    assert all_runs(project) == folders
    for folder in folders:
        assert find_run(project, folder.short) == folder
        assert find_run(project, folder.fingerprint) == folder
    for start in ("zzz", ""):
        with pytest.raises(LenetError, match=r"no run's fingerprint begins so; `lenet runs` lists them"):
            find_run(project, start)


def test_a_start_that_fits_several_names_them(asker: Asker, config: Config) -> None:
    folder = asker(config).run_dir
    twin = folder.path.with_name(folder.fingerprint[:20] + "0" * 44)
    twin.mkdir()
    for name in ("run.json", "config.yaml"):
        (twin / name).write_bytes((folder.path / name).read_bytes())
    with pytest.raises(LenetError, match=rf"^{folder.short}: 2 runs' fingerprints begin so \({folder.short}, "):
        find_run(asker.project, folder.short)
    assert find_run(asker.project, folder.fingerprint) == folder


def test_a_training_without_validation_has_no_predictions(asker: Asker, make_config: MakeConfig) -> None:
    folder = asker(make_config(data__validation_size=0)).run_dir
    assert set(folder.status()["files"]) == {"weights.safetensors", "history.json"}
    assert set(folder.headline()) == {"train/error", "train/loss"}


def test_a_folder_is_no_place_for_what_cannot_be_trained(asker: Asker, make_config: MakeConfig) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(ConfigError, match=r"^trainer\.accelerator=gpu: torch finds no CUDA device here"):
        asker(make_config(trainer__accelerator="gpu", trainer__kernel="auto"))
    assert asker.states == []


@pytest.mark.parametrize("knobs", [{"trainer__accelerator": "gpu"}, {"data__train_size": 501}])
def test_what_is_not_possible_leaves_no_run(asker: Asker, make_config: MakeConfig, knobs: dict[str, Any]) -> None:
    import torch

    from lenet.execution.runner import Runner

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with Runner(asker.project) as runner, pytest.raises(ConfigError):
        runner.get_or_train(make_config(**knobs), ORIGIN)
    assert all_runs(asker.project) == []
    assert not (asker.project.home / "mlflow.db").exists()


def test_a_run_that_was_left_behind_is_ended_early_and_one_that_ended_stays(asker: Asker, config: Config) -> None:
    asker.stop_after = 1
    with pytest.raises(Stopped):
        asker(config)
    folder = run_dir_for(asker.project, config, asker.digest)
    for left in ("KILLED", "RUNNING"):  # told to end, or killed
        folder.write("status.json", folder.status() | {"state": left})
        assert folder.state() == "KILLED"
        mark_pruned(folder, "pruned after epoch 1")
        assert (folder.state(), folder.status()["message"]) == ("PRUNED", "pruned after epoch 1")
    asker.stop_after = None
    assert asker(config).outcome == "resumed after epoch 1"
    mark_pruned(folder, "pruned after epoch 1")
    assert folder.state() == "FINISHED"
