"""`lenet reproduce` trains as the run was trained, with as many threads, and says with what when weights differ."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file, save_file

from lenet.config.schema import Config
from lenet.core.atomic_io import read_json, sha256_file, write_json
from lenet.core.errors import LenetError, Stopped
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.execution.reproduce import as_trained, reproduce
from lenet.runs.fingerprint import fingerprint
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir, run_dir_for

MakeConfig = Callable[..., Config]
WEIGHTS = "weights.safetensors"


def train(project: Project, config: Config, stop_after: int | None = None) -> RunDir:
    """Train a run, or begin to."""
    digest = training_digest(project.prepared("tiny"))

    def changed(folder: RunDir) -> None:
        if len(folder.history()) == stop_after:
            raise Stopped(signal.SIGTERM)

    try:
        return get_or_train(project, config, digest, RunMetadata("tiny"), changed).run_dir
    except Stopped:
        return run_dir_for(project, config, digest)


def change_last_bit(folder: RunDir) -> str:
    """Leave the run with weights of which one differs in its last bit, on record as if it had been trained to them."""
    path = folder.path / WEIGHTS
    state = load_file(path)
    state["network.output.bias"].view(torch.int32)[0] ^= 1
    save_file(state, path)
    status = folder.status()
    write_json(folder.path / "status.json", status | {"files": status["files"] | {WEIGHTS: sha256_file(path)}})
    return sha256_file(path)


def test_a_run_is_trained_again_with_the_threads_on_record(
    project: Project, make_config: MakeConfig, said: list[str]
) -> None:
    short = {"data__train_size": 50}  # two threads wait for each other where the machine is busy
    train(project, make_config(trainer__threads=2, **short), stop_after=1)
    folder = train(project, make_config(trainer__threads=1, **short))
    assert [attempt["threads"] for attempt in folder.status()["attempts"]] == [2, 1]
    assert folder.threads() == (2, 1)
    assert folder.config().trainer.threads == 2  # what was asked for first
    assert as_trained(folder).trainer.threads == 1
    other = train(project, make_config(seed=2))
    assert reproduce(project, other) == other.status()["files"][WEIGHTS]
    change_last_bit(folder)
    with pytest.raises(LenetError, match=r"with 2 and in the end 1 thread, as now and torch \d"):
        reproduce(project, folder)


def test_without_recorded_threads_it_has_those_of_the_config(project: Project, make_config: MakeConfig) -> None:
    folder = train(project, make_config())
    status = folder.status()
    attempts = [{name: value for name, value in status["attempts"][0].items() if name != "threads"}]
    write_json(folder.path / "status.json", status | {"attempts": attempts})
    assert folder.threads() == ()
    assert as_trained(folder) == folder.config()


def test_the_same_weights_are_the_same_and_others_are_not(
    project: Project, make_config: MakeConfig, said: list[str]
) -> None:
    folder = train(project, make_config(trainer__epochs=1))
    trained = folder.status()["files"][WEIGHTS]
    before = {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir() if path.is_file()}
    assert reproduce(project, folder) == trained
    assert {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir() if path.is_file()} == before
    assert said == []

    other = change_last_bit(folder)
    told = rf"^{folder.short}: the weights differ \({other[:12]}… then, {trained[:12]}… now\)"
    with pytest.raises(LenetError, match=told):
        reproduce(project, folder)


def test_what_cannot_be_compared_is_told(project: Project, make_config: MakeConfig, said: list[str]) -> None:
    folder = train(project, make_config(trainer__epochs=1))
    status = folder.status()
    for state in ("FAILED", "KILLED", "PRUNED"):
        folder.write("status.json", status | {"state": state})
        with pytest.raises(LenetError, match=rf"^{folder.short}: is {state}, only a finished run can be reproduced$"):
            reproduce(project, folder)
    folder.write("status.json", status)
    card = project.prepared("tiny") / "card.json"
    write_json(card, read_json(card) | {"training_digest": "0" * 64})
    with pytest.raises(LenetError, match=rf"^{folder.short}: was trained on other data than "):
        reproduce(project, folder)
    assert said == []


def test_that_the_code_has_changed_is_told(project: Project, make_config: MakeConfig, said: list[str]) -> None:
    trained = train(project, make_config(trainer__epochs=1))
    identity, code = trained.identity(), "0" * 64
    folder = RunDir(project.runs / fingerprint(trained.config(), identity["data_digest"], code))
    shutil.copytree(trained.path, folder.path)
    folder.write("run.json", identity | {"fingerprint": folder.fingerprint, "code_digest": code})
    folder.write("history.json", read_json(folder.path / "history.json"))
    digests = trained.status()["files"] | {"history.json": sha256_file(folder.path / "history.json")}
    folder.write("status.json", trained.status() | {"files": digests})
    assert reproduce(project, folder) == digests[WEIGHTS]
    assert said == [f"{folder.short}: the code that trains has changed since; the weights may differ"]
