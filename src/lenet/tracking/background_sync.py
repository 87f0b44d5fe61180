"""The projection beside a training: a thread of its own, so that training never waits for the store."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from lenet.core.project import Project
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store import reason, shown_uri, store_failures

SHUTDOWN_TIMEOUT = 60.0
"""How long a command waits at its end for a store that answers slowly."""

NICENESS = 10
"""Of a follower that gives way: a tenth of a core where others compute on every one, a whole one where they do not."""


class BackgroundSync:
    """Projects run folders as they change. A store that is away is told of once; `lenet sync` brings it up to date.

    Args:
        project: where the folders are.
        uri: the store.
        experiment: name of the MLflow experiment.
        say: takes a line for the user.
        gives_way: other processes compute meanwhile, and are not to wait for the projection.
    """

    def __init__(
        self, project: Project, uri: str, experiment: str, say: Callable[[str], None], gives_way: bool = False
    ) -> None:
        self._gives_way = gives_way
        self._projection = RunSync(project, uri, experiment)
        self._uri = uri
        self._say = say
        self._waiting: dict[str, RunDir] = {}
        self._unsent: set[str] = set()
        self._changed = threading.Condition()
        self._busy = False
        self._closing = False
        self._warned = False
        self._thread: threading.Thread | None = None

    def changed(self, folder: RunDir) -> None:
        """Note that a folder holds something new, and return at once; the first time, once MLflow is imported."""
        if self._thread is None and not self._gives_way:
            self._try(self._projection.warm)
        with self._changed:
            self._waiting[folder.fingerprint] = folder
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="mlflow projection", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, seconds: float = SHUTDOWN_TIMEOUT) -> bool:
        """Wait until all is sent, `seconds` at most; say whether the store shows everything."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        is_sent = not self._waiting and not self._unsent and not self._busy
        if not is_sent:
            self._warn("does not answer")
        return is_sent

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self._say(
                f"MLflow at {shown_uri(self._uri)}: {reason}; the runs are safe, `lenet sync` brings it up to date"
            )

    def _follow(self) -> None:
        if self._gives_way and sys.platform == "linux":  # elsewhere a thread has no priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
                fingerprint = next(iter(self._waiting))
                folder = self._waiting.pop(fingerprint)
                self._busy = True
            self._send(folder)
            with self._changed:
                self._busy = False

    def _send(self, folder: RunDir) -> None:
        if self._try(lambda: self._projection.send(folder)):
            self._unsent.discard(folder.fingerprint)
        else:
            self._unsent.add(folder.fingerprint)

    def _try(self, action: Callable[[], object]) -> bool:
        """Do something with the store, and say whether it was there."""
        from lenet.core.errors import LenetError

        failures: tuple[type[Exception], ...] = (*store_failures(), OSError, LenetError)
        try:
            action()
        except failures as error:
            self._warn(reason(error))
            return False
        return True
