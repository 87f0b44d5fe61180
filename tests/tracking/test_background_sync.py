from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tracked import Lab

from lenet.config.schema import Config
from lenet.core.project import Project
from lenet.tracking.background_sync import BackgroundSync
from lenet.tracking.run_sync import is_up_to_date

MakeConfig = Callable[..., Config]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def processes() -> set[str]:
    """The process ids of this process's children that sync."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {
        child for child in children if b"lenet.tracking.sync_process" in Path(f"/proc/{child}/cmdline").read_bytes()
    }


def test_everything_is_sent_once_it_is_closed(lab: Lab, make_config: MakeConfig, said: list[str]) -> None:
    sync = BackgroundSync(lab.project, lab.uri, "lenet5")
    run = lab.train(make_config(), sync.changed)
    assert sync.close() is True
    assert said == []
    assert is_up_to_date(run, lab.uri)
    (shown,) = lab.runs()
    assert shown.info.status == "FINISHED"
    assert lab.points(shown.info.run_id)["val/error", 2] == 1


def test_store_that_is_away_is_reported_once_without_its_password(
    lab: Lab, make_config: MakeConfig, said: list[str]
) -> None:
    sync = BackgroundSync(lab.project, "http://me:secret@127.0.0.1:9", "lenet5")
    runs = [lab.train(make_config(seed=seed), sync.changed) for seed in (1, 2)]
    assert [run.state() for run in runs] == ["FINISHED", "FINISHED"]
    assert sync.close() is False
    (line,) = (line for line in said if "MLflow" in line)
    assert line.startswith("MLflow at http://me@127.0.0.1:9: ")
    assert "lenet sync" in line
    assert "\n" not in line
    assert not any(is_up_to_date(run, NOBODY) for run in runs)


def test_run_that_is_sent_at_the_second_try_is_shown(lab: Lab, make_config: MakeConfig, said: list[str]) -> None:
    run, sync = lab.train(make_config()), BackgroundSync(lab.project, lab.uri, "lenet5")
    whole = (run.path / "history.json").read_bytes()
    (run.path / "history.json").write_text("{")
    sync.changed(run)
    while not said:
        time.sleep(0.01)
    (run.path / "history.json").write_bytes(whole)
    sync.changed(run)
    assert sync.close() is True
    assert len(said) == 1  # of the first try


def test_neither_change_nor_close_waits_for_an_answer(
    lab: Lab, make_config: MakeConfig, said: list[str], silent_server: str
) -> None:
    before, run = processes(), lab.train(make_config())
    sync = BackgroundSync(lab.project, silent_server, "lenet5", is_low_priority=True)
    for _ in range(100):
        sync.changed(run)
    assert len(processes() - before) == 1
    began = time.monotonic()
    assert sync.close(seconds=0.1) is False
    assert time.monotonic() - began < 5
    assert processes() == before  # it would wait for the answer that never comes
    assert sum("does not answer" in line for line in said) == 1


def test_without_changes_no_process_starts(project: Project, said: list[str]) -> None:
    before = processes()
    assert BackgroundSync(project, NOBODY, "lenet5").close() is True
    assert processes() == before
    assert said == []
