"""Keep MLflow up to date beside a training, which never waits for the store.

A process of its own does it (`sync_process.py`): to import MLflow and open a store takes a core for two seconds, and a
thread would hold Python's lock meanwhile. A command starts it before it imports torch; the next one of the same
Python process, in a sweep or in tests, finds MLflow imported.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import count
from typing import Any

from lenet.core.project import Project
from lenet.core.urls import with_password, without_password
from lenet.runs.run_dir import RunDir

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT = 60.0
"""Seconds that a command waits at its end for a slow store."""

NICENESS = 10
"""Of a low-priority process: a tenth of a core where others compute on all of them, a whole one otherwise."""

INHERITED = ("MLFLOW_", "LENET_")
"""How the environment variables begin that a process must have as this one has them now."""

_numbers = count()


class BackgroundSync:
    """Sends runs as they change. A store that is away is reported once; `lenet sync` brings it up to date.

    Args:
        project: where the runs lie.
        uri: the store.
        experiment: name of the MLflow experiment.
        is_low_priority: other processes compute meanwhile and are not to wait for it.
    """

    def __init__(self, project: Project, uri: str, experiment: str, is_low_priority: bool = False) -> None:
        self._target = {
            "root": str(project.root),
            "home": str(project.home),
            "uri": with_password(uri),
            "experiment": experiment,
        }
        self._uri = uri
        self._niceness = NICENESS if is_low_priority else 0
        self._number = next(_numbers)
        self._process: _SyncProcess | None = None

    def start(self) -> None:
        """Have MLflow imported and the store opened, and return at once."""
        if self._process is None:
            self._process = _sync_process(self._niceness)
            self._process.write({"sync": self._number, "open": self._target})

    def changed(self, run: RunDir) -> None:
        """Note that a run has something new, and return at once."""
        self.start()
        assert self._process is not None
        self._process.write({"sync": self._number, "run": run.fingerprint})

    def close(self, seconds: float = SHUTDOWN_TIMEOUT) -> bool:
        """Wait until all is sent, `seconds` at most; say whether the store shows everything."""
        if self._process is None:
            return True
        self._process.write({"sync": self._number, "close": True})
        is_sent = self._process.answer(self._number, seconds)
        if is_sent is None:
            self._process.kill()
            logger.warning(
                "MLflow at %s: does not answer; the runs are safe, `lenet sync` brings it up to date",
                without_password(self._uri),
            )
        self._process = None
        return bool(is_sent)


class _SyncProcess:
    """The process, what it logs, and its answers: whether all of a closed sync was sent."""

    def __init__(self, niceness: int) -> None:
        self.environment = _environment()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lenet.tracking.sync_process", str(niceness)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,  # Ctrl-C is for the command, which then says what is still to be sent
        )
        self._answers: dict[int, bool] = {}
        self._answered = threading.Condition()
        threading.Thread(target=self._listen, name="mlflow sync", daemon=True).start()
        atexit.register(self._end)

    @property
    def is_usable(self) -> bool:
        """Whether it runs, in the environment of now."""
        return self._process.poll() is None and self.environment == _environment()

    def write(self, message: dict[str, Any]) -> None:
        """Send a message; to a process that has ended it is none."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")

    def answer(self, number: int, seconds: float) -> bool | None:
        """Return whether all of a closed sync was sent; None: no answer came in time, or the process has ended."""

        def is_there() -> bool:
            return number in self._answers or self._process.poll() is not None

        with self._answered:
            self._answered.wait_for(is_there, seconds)
            return self._answers.pop(number, None)

    def kill(self) -> None:
        """End it, wherever it is in its work."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "log" in message:
                logger.log(message["level"], message["log"])
                continue
            with self._answered:
                self._answers[message["sync"]] = message["is_sent"]
                self._answered.notify_all()
        self._process.wait()
        with self._answered:
            self._answered.notify_all()

    def _end(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()


_processes: dict[int, _SyncProcess] = {}
"""By niceness."""


def _sync_process(niceness: int) -> _SyncProcess:
    if niceness not in _processes or not _processes[niceness].is_usable:
        _processes[niceness] = _SyncProcess(niceness)
    return _processes[niceness]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
