from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lenet.core.file_lock import is_held, locked, locked_if_free

HOLD = """
import sys
from pathlib import Path
from lenet.core.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNT = """
import sys, time
from pathlib import Path
from lenet.core.file_lock import locked
lock, counter = map(Path, sys.argv[1:])
for _ in range(20):
    with locked(lock):
        value = int(counter.read_text())
        time.sleep(0.001)
        counter.write_text(str(value + 1))
"""

Hold = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Start a process that holds a lock until its standard input ends."""
    started: list[subprocess.Popen[str]] = []

    def start(path: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None  # it is closed once


def test_another_process_is_seen_and_named(tmp_path: Path, hold: Hold) -> None:
    path = tmp_path / "deep" / "lock"
    assert not is_held(path)
    process = hold(path)
    seen: list[str] = []

    def end_it(holder: str) -> None:  # while we wait
        seen.append(holder)
        assert is_held(path)
        end(process)

    with locked(path, end_it):
        assert seen == [str(process.pid)]
        assert path.read_text() == f"{os.getpid()}\n"
    assert process.wait(60) == 0
    assert not is_held(path)


def test_a_free_lock_is_taken_without_a_word(tmp_path: Path) -> None:
    path, seen = tmp_path / "lock", list[str]()
    with locked(path, seen.append):
        assert is_held(path)
        assert path.read_text() == f"{os.getpid()}\n"
    assert seen == []
    assert path.is_file()


def test_the_kernel_lets_go_when_its_holder_is_killed(tmp_path: Path, hold: Hold) -> None:
    path = tmp_path / "lock"
    process = hold(path)
    assert is_held(path)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_held(path)
    seen: list[str] = []
    with locked(path, seen.append):
        assert path.read_text() == f"{os.getpid()}\n"
    assert seen == []


def test_an_error_within_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError, match="oh"), locked(path):
        raise RuntimeError("oh")
    assert not is_held(path)


def test_asking_does_not_take_it(tmp_path: Path, hold: Hold) -> None:
    path = tmp_path / "lock"
    path.write_text("")
    assert not is_held(path)
    assert not is_held(path)
    process = hold(path)
    assert (is_held(path), is_held(path)) == (True, True)
    assert process.poll() is None


def test_two_who_ask_at_once_do_not_take_each_other_for_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as asker:
        fcntl.flock(asker, fcntl.LOCK_SH)  # as asking does, for a moment
        assert not is_held(path)


def test_one_at_a_time_between_processes(tmp_path: Path) -> None:
    lock, counter = tmp_path / "lock", tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, str(lock), str(counter)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert counter.read_text() == "60"


def test_a_lock_whose_folder_was_deleted_is_taken_anew(tmp_path: Path, hold: Hold) -> None:
    path = tmp_path / "run" / "lock"
    process = hold(path)

    def delete(_: str) -> None:  # while we wait
        path.unlink()
        end(process)

    with locked(path, delete):
        assert path.read_text() == f"{os.getpid()}\n"
        assert is_held(path)


def test_a_lock_is_taken_if_it_is_free(tmp_path: Path, hold: Hold) -> None:
    path = tmp_path / "lock"
    path.touch()
    with locked_if_free(path) as is_ours:
        assert is_ours
        assert is_held(path)
    process = hold(path)
    with locked_if_free(path) as is_ours:
        assert not is_ours
    process.kill()
