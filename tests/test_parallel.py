from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from lenet.asking import Origin
from lenet.config import Config
from lenet.parallel import Wish, ask_all
from lenet.project import Project

BEGUN = """
import time
from lenet.parallel import one_thread_each, process_context

print("begun", flush=True)
try:
    process = process_context().Process(target=int)
    with one_thread_each():
        process.start()  # waits for the server
    process.join()
except KeyboardInterrupt:
    print("stopped")
"""

IMPORTING_SECONDS = 0.7
"""Long enough for the server to have begun its seconds of importing."""


def test_ctrl_c_while_the_processes_server_starts_leaves_no_traceback() -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", BEGUN], **pipes, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(IMPORTING_SECONDS)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the command gets it
    told, complaint = process.communicate(timeout=30)
    assert (told, complaint) == ("stopped\n", "")


def test_a_run_that_is_wished_for_twice_is_trained_once(
    project: Project, make_config: Callable[..., Config], said: list[str]
) -> None:
    config = make_config()
    wishes = [Wish(config, Origin("first", "a")), Wish(config, Origin("second", "b"))]
    first, second = ask_all(project, wishes, workers=2, tell=said.append)
    assert (first.answer, second.answer) == ("trained", "already trained")
    assert first.folder == second.folder
    assert len(first.folder.status()["attempts"]) == 1
    assert not [line for line in said if "waiting" in line]
    assert [one.answer for one in ask_all(project, wishes, workers=2, tell=said.append)] == ["already trained"] * 2
