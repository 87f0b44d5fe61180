from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from lenet.config.schema import Config
from lenet.core.project import Project
from lenet.execution.live_table import LiveTable
from lenet.execution.local import RunRequest, run_all
from lenet.runs.get_or_train import RunMetadata

MakeConfig = Callable[..., Config]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_shows_the_newest_epoch_and_how_each_run_ended(
    project: Project, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [make_config(seed=seed) for seed in (1, 2)]
    done = run_all(project, [RunRequest(one, RunMetadata(f"run [{one.seed}]", "x")) for one in configs], 1)
    monkeypatch.setattr("sys.stderr", Terminal())
    table = LiveTable(["run [1]", "run [2]"], [one.run_dir for one in done], [2, 2], is_shown=True)
    table.done(done[0].run_dir, "failed: of no reason")
    text = io.StringIO()
    Console(file=text, width=120).print(table._table())
    error = f"{done[1].run_dir.history()[-1]['val/error']:.2f}"
    lines = text.getvalue().splitlines()
    assert lines[0].strip() == "1 of 2 runs, 1 failed"
    assert lines[2].split()[1:4] == ["run", "[1]", "2/2"]
    assert lines[2].strip().endswith("failed: of no reason")
    assert lines[3].split()[1:] == ["run", "[2]", "2/2", error, "training"]


def test_nothing_is_shown_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with LiveTable([], [], [], is_shown=True):
        pass
    assert capfd.readouterr() == ("", "")
