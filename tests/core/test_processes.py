from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lenet.core.processes import share

BEGUN = """
import time
from lenet.core.processes import one_thread_each, process_context

print("begun", flush=True)
try:
    process = process_context(["torch"]).Process(target=int)
    with one_thread_each():
        process.start()  # waits for the server
    process.join()
except KeyboardInterrupt:
    print("stopped")
"""


def wait_until_a_child_imports(pid: int) -> None:
    """Wait until a process has a child that has begun to load torch, with seconds of importing still before it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while True:
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in children.read_text().split():
                if "libtorch" in Path(f"/proc/{child}/maps").read_text():
                    return
        time.sleep(0.01)


def test_ctrl_c_while_the_processes_server_starts_leaves_no_traceback() -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", BEGUN], **pipes, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    wait_until_a_child_imports(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the command gets it
    told, complaint = process.communicate(timeout=120)
    assert (told, complaint) == ("stopped\n", "")


@pytest.mark.parametrize(
    ("slot", "devices", "expected"),
    [(0, 1, ["0"]), (3, 1, ["3"]), (4, 1, ["0"]), (0, 2, ["0", "1"]), (1, 2, ["2", "3"]), (2, 2, ["0", "1"])],
)
def test_processes_share_the_gpus_so_that_no_run_has_one_twice(slot: int, devices: int, expected: list[str]) -> None:
    assert share(["0", "1", "2", "3"], slot, devices) == expected
