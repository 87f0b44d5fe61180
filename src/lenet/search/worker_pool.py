"""The workers of one command: started, watched, replaced when they are killed, and told to end."""

from __future__ import annotations

import time
from multiprocessing.process import BaseProcess

from lenet.core.errors import LenetError
from lenet.core.processes import one_thread_each, process_context
from lenet.core.project import Project
from lenet.execution.local import PRELOADED
from lenet.search.worker import work

SHUTDOWN_TIMEOUT = 30.0
"""How long a worker may take to keep what it has when it is told to end."""

MAX_DEATHS = 3
"""Workers of a crew that may be killed without any trial having ended in between: more is no accident."""


class WorkerPool:
    """The worker processes that one command started.

    Args:
        project: where things are.
        words: what was typed to `lenet search`, which each worker reads for itself.
        size: how many work at once.
    """

    def __init__(self, project: Project, words: tuple[str, ...], size: int) -> None:
        self._project = project
        self._words = words
        self._size = size
        self._context = process_context(PRELOADED)
        self._processes: dict[int, BaseProcess] = {}
        self._deaths = 0

    def start(self) -> None:
        """Start every worker."""
        for slot in range(self._size):
            self._start(slot)

    def _start(self, slot: int) -> None:
        process = self._context.Process(
            target=work, args=(self._project.root, self._project.home, self._words, slot), name=f"worker {slot}"
        )
        with one_thread_each():
            process.start()
        self._processes[slot] = process

    def watch(self, has_progressed: bool) -> bool:
        """Replace workers that were killed; say whether anyone is still at work.

        Args:
            has_progressed: a trial has ended since the last call.

        Raises:
            LenetError: workers are killed again and again.
        """
        if has_progressed:
            self._deaths = 0
        for slot, process in list(self._processes.items()):
            code = process.exitcode
            if code is None:
                continue
            process.join()
            del self._processes[slot]
            if code < 0:  # by a signal that it could not obey
                self._deaths += 1
                if self._deaths > MAX_DEATHS * self._size:
                    raise LenetError(
                        f"workers are killed again and again (signal {-code}): is there enough memory for"
                        f" search.workers={self._size}? The same command goes on"
                    )
                self._start(slot)
        return bool(self._processes)

    def end(self) -> None:
        """Tell every worker to end, wait until it has kept what it has, and kill one that does not."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT
        for process in self._processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
        self._processes = {}
