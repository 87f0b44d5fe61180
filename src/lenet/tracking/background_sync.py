"""A thread that keeps MLflow up to date beside a training, which never waits for the store."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from functools import partial

from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.core.urls import without_password
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store_errors import reason, store_failures

logger = logging.getLogger(__name__)

SHUTDOWN_TIMEOUT = 60.0
"""Seconds that a command waits at its end for a slow store."""

NICENESS = 10
"""Of a low-priority thread: a tenth of a core where others compute on all of them, a whole one otherwise."""


class BackgroundSync:
    """Sends runs as they change. A store that is away is reported once; `lenet sync` brings it up to date.

    Args:
        project: where the runs lie.
        uri: the store.
        experiment: name of the MLflow experiment.
        is_low_priority: other processes compute meanwhile and are not to wait for it.
    """

    def __init__(self, project: Project, uri: str, experiment: str, is_low_priority: bool = False) -> None:
        self._is_low_priority = is_low_priority
        self._sync = RunSync(project, uri, experiment)
        self._uri = uri
        self._waiting: dict[str, RunDir] = {}
        self._unsent: set[str] = set()
        self._changed = threading.Condition()
        self._is_sending = False
        self._is_closing = False
        self._has_warned = False
        self._thread: threading.Thread | None = None

    def changed(self, run: RunDir) -> None:
        """Note that a run has something new, and return at once."""
        with self._changed:
            self._waiting[run.fingerprint] = run
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mlflow sync", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, seconds: float = SHUTDOWN_TIMEOUT) -> bool:
        """Wait until all is sent, `seconds` at most; say whether the store shows everything."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        is_sent = not self._waiting and not self._unsent and not self._is_sending
        if not is_sent:
            self._warn("does not answer")
        return is_sent

    def _warn(self, text: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            uri = without_password(self._uri)
            logger.warning("MLflow at %s: %s; the runs are safe, `lenet sync` brings it up to date", uri, text)

    def _work(self) -> None:
        if self._is_low_priority and sys.platform == "linux":  # elsewhere a thread has no priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            with self._changed:
                self._is_sending = False
                while not self._waiting and not self._is_closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                run = self._waiting.pop(next(iter(self._waiting)))
                self._is_sending = True
            if self._try(partial(self._sync.send, run)):
                self._unsent.discard(run.fingerprint)
            else:
                self._unsent.add(run.fingerprint)

    def _try(self, action: Callable[[], object]) -> bool:
        """Do something with the store, and say whether it worked."""
        failures: tuple[type[Exception], ...] = (*store_failures(), OSError, LenetError)
        try:
            action()
        except failures as error:
            self._warn(reason(error))
            return False
        return True
