from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from lenet.config.schema import Config
from lenet.core.errors import ConfigError
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.runs.fingerprint import fingerprint
from lenet.runs.run_dir import RunDir, all_runs
from lenet.runs.table import print_run, print_runs, read_row, select

MakeRun = Callable[..., RunDir]
STARTED = 1_700_000_000.0
TRAINED_ON = {"device": "cpu", "host": "h", "user": "u", "git": {"commit": None, "dirty": None}, "versions": {}}


@pytest.fixture
def make_run(project: Project, make_config: Callable[..., Config]) -> MakeRun:
    """Write a run directory as `get_or_train` leaves it, without training."""
    count = 0

    def make(state: str | None, error: float | None = 2.5, **knobs: Any) -> RunDir:
        nonlocal count
        count += 1
        config, digests = make_config(**knobs), {"data_digest": "d", "code_digest": f"code {count}"}
        folder = RunDir(project.runs / fingerprint(config, *digests.values()))
        body = {"name": f"run {count}", "config": config.tree(), "overrides": [], "sweeps": []}
        folder.write_identity(body | digests)
        os.utime(folder.path / "config.yaml", (count, count))
        if state is not None:
            attempts = [{"started": STARTED + count, "ended": None} | TRAINED_ON]
            folder.write("status.json", {"state": state, "message": "", "attempts": attempts, "files": {}})
        if error is not None:
            epochs = [{"epoch": 1, "val/error": 9.0}, {"epoch": 2, "val/error": error}]
            folder.write("history.json", {"epochs": epochs})
        return folder

    return make


def test_a_line_of_each_state(make_run: MakeRun) -> None:
    finished, killed, new = make_run("FINISHED"), make_run("RUNNING"), make_run(None, error=None)
    line = read_row(finished)
    assert (line.name, line.state, line.started, line.epochs, line.error) == ("run 1", "FINISHED", STARTED + 1, 2, 2.5)
    assert line.knobs["model.activation"] == "tanh"
    assert read_row(killed).state == "KILLED"
    with locked(killed.lock):
        assert read_row(killed).state == "RUNNING"
    line = read_row(new)
    assert (line.state, line.started, line.epochs, line.error) == ("NEW", None, 0, None)


def test_a_resumed_run_started_with_its_first_attempt(make_run: MakeRun) -> None:
    resumed = make_run("FINISHED")
    status = resumed.status()
    first, last = status["attempts"][0], status["attempts"][0] | {"started": STARTED + 500}
    resumed.write("status.json", status | {"attempts": [first, last]})
    assert read_row(resumed).started == STARTED + 1


@pytest.mark.parametrize("name", ["run.json", "status.json", "history.json"])
def test_what_is_damaged_is_shown_as_damaged(make_run: MakeRun, name: str) -> None:
    folder = make_run("FINISHED")
    (folder.path / name).write_text("{")
    assert read_row(folder).state == "DAMAGED"


def test_filters(project: Project, make_run: MakeRun) -> None:
    make_run("FINISHED", seed=1)
    make_run("FAILED", seed=2, model__activation="relu")
    make_run("FINISHED", seed=2, optimizer__learning_rate=0.004)
    lines = [read_row(folder) for folder in all_runs(project)]

    def found(*filters: str) -> list[str]:
        return [line.name for line in select(lines, filters)]

    assert found() == ["run 1", "run 2", "run 3"]
    assert found("state=finished") == ["run 1", "run 3"]
    assert found("seed=2") == ["run 2", "run 3"]
    assert found("seed=2", "state=FINISHED") == ["run 3"]
    assert found("model.activation=relu") == ["run 2"]
    assert found("optimizer.learning_rate=0.004") == ["run 3"]
    assert found("trainer.progress=false") == ["run 1", "run 2", "run 3"]
    assert found("model.activation=gelu") == []


def test_filters_are_written_as_in_yaml(project: Project, make_run: MakeRun) -> None:
    make_run("FINISHED", data__train_size=None, optimizer__learning_rate=0.004)
    lines = [read_row(folder) for folder in all_runs(project)]
    assert select(lines, ["data.train_size=null"]) == lines
    assert select(lines, ["optimizer.learning_rate=4e-3"]) == lines


def test_a_filter_that_makes_no_sense(project: Project, make_run: MakeRun) -> None:
    make_run("FINISHED")
    lines = [read_row(folder) for folder in all_runs(project)]
    with pytest.raises(ConfigError, match=r"^relu: a filter is knob=value, such as model\.activation=relu or state="):
        select(lines, ["relu"])
    with pytest.raises(
        ConfigError, match=r"^model\.activaton: no run has such a knob \(did you mean 'model\.activatio"
    ):
        select(lines, ["model.activaton=relu"])


def test_the_table_is_oldest_first(project: Project, make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make_run("FINISHED"), make_run(None, error=None)
    print_runs(project, [])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["run", "name", "state", "epochs", "val/error", "%", "started"]
    assert lines[1][:6] == [first.short, "run", "1", "FINISHED", "2", "2.50"]
    assert lines[2] == [second.short, "run", "2", "NEW", "0"]
    print_runs(project, ["state=killed"])
    assert capsys.readouterr().out == "no run fits; `lenet runs` lists them all\n"


def test_one_run_whole_as_json(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run("RUNNING")
    print_run(folder)
    body = json.loads(capsys.readouterr().out)
    assert (body["run"], body["state"], body["folder"]) == (folder.short, "KILLED", str(folder.path))
    assert body["fingerprint"] == folder.fingerprint
    assert body["last_epoch"] == [{"epoch": 2, "val/error": 2.5}]
    assert body["config"]["seed"] == 1
    assert body["status"]["attempts"] == [{"started": STARTED + 1, "ended": None} | TRAINED_ON]
