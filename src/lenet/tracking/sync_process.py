"""`python -m lenet.tracking.sync_process NICENESS`: the process behind BackgroundSync, which says what it is to do."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import lenet.core.fast_imports  # noqa: F401
from lenet.core.errors import LenetError
from lenet.core.log import ROOT_LOGGER
from lenet.core.project import Project
from lenet.core.urls import taken_in, without_password
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store_errors import reason, store_failures

logger = logging.getLogger("lenet.tracking.sync_process")  # its `__name__` is another here


class _Target:
    """One store and experiment, and what could not be sent to it."""

    def __init__(self, root: str, home: str, uri: str, experiment: str) -> None:
        self._project = Project(Path(root), Path(home))
        self._uri = taken_in(uri)
        self._sync = RunSync(self._project, self._uri, experiment)
        self._has_warned = False
        self.unsent: set[str] = set()

    def open(self) -> None:
        """Import MLflow and open the store; what goes wrong is reported by what is sent first."""
        self._try(self._sync.prepare)

    def send(self, fingerprint: str) -> None:
        """Bring the store up to date with a run; report the first failure."""
        error = self._try(partial(self._sync.send, RunDir(self._project.runs / fingerprint)))
        if error is None:
            self.unsent.discard(fingerprint)
            return
        self.unsent.add(fingerprint)
        if not self._has_warned:
            self._has_warned = True
            remedy = "the runs are safe, `lenet sync` brings it up to date"
            logger.warning("MLflow at %s: %s; %s", without_password(self._uri), reason(error), remedy)

    def _try(self, action: Callable[[], object]) -> Exception | None:
        failures: tuple[type[Exception], ...] = (*store_failures(), OSError, LenetError)
        try:
            action()
        except failures as error:
            return error
        return None


class _Queue:
    """What is still to be done, in the order in which it was said; a run that changes twice is sent once."""

    def __init__(self, lines: TextIO) -> None:
        self._messages: dict[str, None] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()

    def take(self) -> dict[str, Any]:
        """Wait for the next message and return it."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages)
            line = next(iter(self._messages))
            del self._messages[line]
        message: dict[str, Any] = json.loads(line)
        return message

    def _read(self, lines: TextIO) -> None:
        for line in lines:
            with self._changed:
                self._messages[line] = None
                self._changed.notify()
        os._exit(0)  # the command has ended, and waits for nothing


class _PipeHandler(logging.Handler):
    """Hands log messages to the command, which shows them as its own."""

    def __init__(self, answers: TextIO) -> None:
        super().__init__()
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        _write(self._answers, {"level": record.levelno, "log": without_password(self.format(record))})


def _write(answers: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=answers, flush=True)


def main() -> None:
    """Do what is said on standard input, and answer on standard output, where no library can write."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.nice(int(sys.argv[1]))
    root = logging.getLogger(ROOT_LOGGER)
    root.propagate = False
    root.addHandler(_PipeHandler(answers))
    queue, targets = _Queue(sys.stdin), dict[int, _Target]()
    while True:
        message = queue.take()
        number = message["sync"]
        if "open" in message:
            targets[number] = _Target(**message["open"])
            targets[number].open()
        elif "run" in message:
            targets[number].send(message["run"])
        else:
            _write(answers, {"sync": number, "is_sent": not targets.pop(number).unsent})


if __name__ == "__main__":
    main()
