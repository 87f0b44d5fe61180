"""`lenet replay` trains as the run was trained, with as many threads, and says with what when weights differ."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from lenet.asking import Origin, ask
from lenet.config import Config
from lenet.data.prepared import training_digest
from lenet.durable import sha256_bytes, write_json
from lenet.errors import LenetError, Stopped
from lenet.project import Project
from lenet.replay import as_trained, replay
from lenet.runs import RunFolder, locate

MakeConfig = Callable[..., Config]


def train(project: Project, config: Config, stop_after: int | None = None) -> RunFolder:
    """Train a run, or begin to."""
    digest = training_digest(project.prepared("tiny"))

    def changed(folder: RunFolder) -> None:
        if len(folder.history()) == stop_after:
            raise Stopped(signal.SIGTERM)

    try:
        return ask(project, config, digest, Origin("tiny"), changed, lambda _: None).folder
    except Stopped:
        return locate(project, config, digest)


def with_other_weights(folder: RunFolder) -> None:
    """Make a run's record that of other weights."""
    path, status = folder.path / "weights.safetensors", folder.status()
    content = path.read_bytes()[:-4] + b"\0\0\0\0"
    path.write_bytes(content)
    write_json(folder.path / "status.json", status | {"files": status["files"] | {path.name: sha256_bytes(content)}})


def test_a_run_is_trained_again_with_the_threads_on_record(
    project: Project, make_config: MakeConfig, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(trainer__threads=2)
    train(project, config, stop_after=1)
    folder = train(project, make_config(trainer__threads=1))
    assert [attempt["threads"] for attempt in folder.status()["attempts"]] == [2, 1]
    assert folder.threads() == (2, 1)
    assert folder.config().trainer.threads == 2  # what was asked for first
    assert as_trained(folder).trainer.threads == 1
    replay(project, train(project, make_config(seed=2)), said.append)
    assert "the same weights, bit for bit" in capsys.readouterr().out
    with_other_weights(folder)
    with pytest.raises(LenetError, match=r"with 2 and in the end 1 thread, as now and torch \d"):
        replay(project, folder, said.append)


def test_a_record_without_threads_is_replayed_as_it_was_asked_for(project: Project, make_config: MakeConfig) -> None:
    folder = train(project, make_config())
    status = folder.status()
    attempts = [{name: value for name, value in status["attempts"][0].items() if name != "threads"}]
    write_json(folder.path / "status.json", status | {"attempts": attempts})
    assert folder.threads() == ()
    assert as_trained(folder) == folder.config()
