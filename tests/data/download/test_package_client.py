from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lenet.data.download import package_client as client
from lenet.data.download.package_client import run_client
from lenet.data.download.stream import SourceUnavailableError


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_client_works_in_its_folder(tmp_path: Path) -> None:
    run_client(["touch", "brought"], tmp_path)
    assert (tmp_path / "brought").exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo WARNING: x; echo ERROR: no such package; echo ERROR: more; exit 1", "^ERROR: no such package$"),
        ("echo npm error code E404; echo npm error 404 Not Found; exit 1", "^npm error 404 Not Found$"),
        ("echo first >&2; echo No module named pip >&2; exit 1", "^No module named pip$"),
        ("exit 3", "^ends with code 3$"),
        ("yes | head -c 9999 | tr -d '\\n'; exit 1", "^y{160}$"),
    ],
)
def test_a_failure_says_the_clients_reason(tmp_path: Path, script: str, reason: str) -> None:
    with pytest.raises(SourceUnavailableError, match=reason):
        run_client(["sh", "-c", script], tmp_path)


def test_a_client_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match="no-such-client cannot be started"):
        run_client(["no-such-client"], tmp_path)


def test_a_client_that_hangs_ends_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CLIENT_SECONDS", 0.5)
    with pytest.raises(SourceUnavailableError, match=r"takes more than 0\.5 s"):
        run_client(["sh", "-c", "sleep 60 & echo $! > child; wait"], tmp_path)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_ends_the_client(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from lenet.data.download.package_client import run_client\n"
        "run_client(['sh', '-c', 'echo $$ > child; mv child ready; sleep 60'], Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) != 0
    child = int((tmp_path / "ready").read_text())
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)
