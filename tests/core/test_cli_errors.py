from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from lenet.core.atomic_io import atomic_write
from lenet.core.cli_errors import exit_on_error, hide_passwords, survive_any_terminal
from lenet.core.errors import ConfigError, DamagedError, LenetError, RunFailedError, Stopped

ROOT = Path(__file__).parents[2]

TALK = """
from lenet.core.cli_errors import exit_on_error
def talk():
    for number in range(100000):
        print("line", number, flush=True)
exit_on_error(talk)
"""


def leave(error: BaseException) -> int | str | None:
    def action() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        exit_on_error(action)
    return caught.value.code


def test_the_answer_comes_back() -> None:
    assert exit_on_error(lambda: 3.5) == 3.5


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
        with atomic_write(tmp_path / "history.json") as temporary:
            temporary.unlink()
            temporary.symlink_to(FULL)
            temporary.write_bytes(b"{}")

    def write_array() -> None:
        with atomic_write(tmp_path / "history.json") as temporary, FULL.open("wb", buffering=0) as stream:
            temporary.touch()
            np.ones(100_000).tofile(stream)  # which says how much was written, and not why

    for writer, why in ((write, ""), (write_array, r" \(\d+ requested and \d+ written\)")):
        with pytest.raises(SystemExit):
            exit_on_error(writer)
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
        exit_on_error(action)


def test_our_own_mistakes_are_not_hidden() -> None:
    def action() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exit_on_error(action)


def test_a_reader_that_has_seen_enough() -> None:
    process = subprocess.Popen([sys.executable, "-c", TALK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.wait(20) == 128 + signal.SIGPIPE
    assert process.stderr.read() == ""
    process.stderr.close()


def test_what_a_terminal_cannot_show_is_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for encoding in ("ascii", "utf-8")]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    survive_any_terminal()
    for stream in streams:
        stream.write("5 → é \udce9")
        stream.flush()
    assert [stream.buffer.getvalue() for stream in streams] == [  # type: ignore[attr-defined]
        b"5 \\u2192 \\xe9 \\udce9",
        "5 → é \\udce9".encode(),
    ]


@pytest.mark.parametrize("program", [["-m", "lenet"], [str(ROOT / "train.py")]])
def test_bytes_that_are_no_text_are_refused_in_one_line(program: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *program, "name=caf\udce9"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "LENET_HOME": str(tmp_path)},
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"error: name=caf\\udce9: holds bytes that are not text; type it in UTF-8\n"
    assert list(tmp_path.iterdir()) == []


def test_help_is_shown_on_a_terminal_of_ascii() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, str(ROOT / "train.py"), "--help"]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


def test_neither_a_line_nor_a_traceback_has_a_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise LenetError("http://me:secret@host: is away")

    with pytest.raises(SystemExit):
        exit_on_error(fail)
    assert capsys.readouterr().err == "error: http://me@host: is away\n"
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # taken back at the end
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    hide_passwords()
    sys.excepthook(ValueError, ValueError("http://me:secret@host"), None)
    assert capsys.readouterr().err == "ValueError: http://me@host\n"
