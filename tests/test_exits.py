from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lenet.durable import replacing
from lenet.errors import ConfigError, DamagedError, LenetError, RunFailedError, Stopped
from lenet.exits import guarded

TALK = """
from lenet.exits import guarded
def talk():
    for number in range(100000):
        print("line", number, flush=True)
guarded(talk)
"""


def leave(error: BaseException) -> int | str | None:
    def action() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        guarded(action)
    return caught.value.code


def test_the_answer_comes_back() -> None:
    assert guarded(lambda: 3.5) == 3.5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LenetError("x is wrong; do y"), 1),
        (DamagedError("x is wrong; do y"), 1),
        (RunFailedError("x is wrong; do y"), 1),
        (ConfigError("x is wrong; do y"), 2),
        (PermissionError(13, "x is wrong; do y"), 1),
    ],
)
def test_what_a_user_can_act_on_is_one_line(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LENET_TRACEBACK", raising=False)
    assert leave(error) == code
    out, told = capsys.readouterr()
    assert out == ""
    assert told == f"error: {error}\n"


FULL = Path("/dev/full")
"""Linux's device on which every write finds no space."""


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_with_the_file_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LENET_TRACEBACK", raising=False)

    def write() -> None:
        with replacing(tmp_path / "history.json") as temporary:
            temporary.symlink_to(FULL)
            temporary.write_bytes(b"{}")

    def write_array() -> None:
        with replacing(tmp_path / "history.json") as temporary, FULL.open("wb", buffering=0) as stream:
            temporary.touch()
            np.ones(100_000).tofile(stream)  # which says how much was written, and not why

    for writer, why in ((write, ""), (write_array, r" \(\d+ requested and \d+ written\)")):
        with pytest.raises(SystemExit):
            guarded(writer)
        told = capsys.readouterr().err
        path = re.escape(str(tmp_path / "history.json"))
        assert re.fullmatch(f"error: {path}: No space left on device{why}; make room \\(`lenet clean` .*\n", told)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"), [(Stopped(signal.SIGTERM), 143), (Stopped(signal.SIGINT), 130), (KeyboardInterrupt(), 130)]
)
def test_signals_have_the_exit_codes_of_shells(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(error) == code
    assert capsys.readouterr().err.startswith("stopped")


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def action() -> None:
        raise LenetError("oh")

    monkeypatch.setenv("LENET_TRACEBACK", "1")
    with pytest.raises(LenetError, match="oh"):
        guarded(action)


def test_our_own_mistakes_are_not_hidden() -> None:
    def action() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded(action)


def test_a_reader_that_has_seen_enough() -> None:
    process = subprocess.Popen([sys.executable, "-c", TALK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.wait(20) == 128 + signal.SIGPIPE
    assert process.stderr.read() == ""
    process.stderr.close()
