"""The worker processes of a search: start, replace after a kill, stop; each runs trials until the budget is spent."""

from __future__ import annotations

import logging
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING

from lenet.core.cli_errors import SIGNAL_BASE, exit_on_error, hide_passwords
from lenet.core.errors import LenetError, Stopped
from lenet.core.log import configure_logging
from lenet.core.processes import assign_gpu, die_with_parent, one_thread_each, process_context
from lenet.execution.local import PRELOADED
from lenet.search.spec import SearchSpec

if TYPE_CHECKING:
    from lenet.search.objective import Objective
    from lenet.search.study import SearchStudy

POLL_SECONDS = 0.3
"""Between two looks at a study whose last trials run elsewhere: one of them may be requeued."""

SHUTDOWN_TIMEOUT = 30.0
"""Seconds that a worker has to store its epoch when it is told to end."""

MAX_KILLS = 3
"""Kills per worker, without any trial ended in between, after which the search gives up."""


@dataclass(frozen=True)
class WorkerTask:
    """What a worker process is given, so that it reads neither conf/ nor code again.

    Attributes:
        spec: the composed search.
        study: the study's name.
        url: the study's database, without a password.
        data_digest: digest of the prepared training data.
    """

    spec: SearchSpec
    study: str
    url: str
    data_digest: str


class WorkerPool:
    """The worker processes that one command started.

    Args:
        task: what each is given.
        size: number of processes.
    """

    def __init__(self, task: WorkerTask, size: int) -> None:
        self._task = task
        self._size = size
        self._context = process_context(("optuna", *PRELOADED))
        self._processes: dict[int, BaseProcess] = {}
        self._kills = 0

    def start(self) -> None:
        """Start every worker."""
        for slot in range(self._size):
            self._start(slot)

    def _start(self, slot: int) -> None:
        process = self._context.Process(target=_work, args=(self._task, slot), name=f"worker {slot}")
        with one_thread_each():
            process.start()
        self._processes[slot] = process

    def watch(self, has_progressed: bool) -> bool:
        """Replace workers that were killed; say whether any is running.

        Args:
            has_progressed: a trial has ended since the last call.

        Raises:
            LenetError: workers are killed again and again.
        """
        if has_progressed:
            self._kills = 0
        for slot, process in list(self._processes.items()):
            code = process.exitcode
            if code is None:
                continue
            process.join()
            del self._processes[slot]
            if code < 0:  # by a signal that it could not handle
                self._kills += 1
                if self._kills > MAX_KILLS * self._size:
                    raise LenetError(
                        f"workers are killed again and again (signal {-code}): is there enough memory for"
                        f" search.workers={self._size}? The same command resumes the search"
                    )
                self._start(slot)
        return bool(self._processes)

    def stop(self) -> None:
        """Tell every worker to end, wait until it has stored its epoch, and kill one that does not."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + SHUTDOWN_TIMEOUT
        for process in self._processes.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
        self._processes = {}


def _work(task: WorkerTask, slot: int) -> None:
    """Run trials; the entry of a worker process.

    Args:
        task: the search.
        slot: the worker's number within its command, which chooses its GPU.
    """
    configure_logging(logging.WARNING)  # the command that leads the workers reports their progress
    hide_passwords()
    _raise_stopped_on_signals()
    die_with_parent(signal.SIGTERM)

    def run() -> int:
        try:
            _run_task(task, slot)
        except Stopped as stop:  # the command that started the workers reports it once
            return SIGNAL_BASE + stop.signum
        return 0

    sys.exit(exit_on_error(run))


def _raise_stopped_on_signals() -> None:
    """Have the first Ctrl-C or SIGTERM raise Stopped; a second one does not interrupt the shutdown."""
    received: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        if not received:
            received.append(signum)
            raise Stopped(signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)


def _run_task(task: WorkerTask, slot: int) -> None:
    from lenet.search.objective import Objective
    from lenet.search.storage import open_storage, storage_errors
    from lenet.search.study import SearchStudy
    from lenet.training.cpu_tuning import configure_openmp

    configure_openmp()
    assign_gpu(slot)
    storage = open_storage(task.spec.project, task.url)
    with storage_errors(storage.url), ExitStack() as stack:
        study = SearchStudy(task.spec, storage, task.study)
        number = study.register_worker(stack)
        run_trials(study, Objective(study, task.data_digest), number)


def run_trials(study: SearchStudy, objective: Objective, worker: int) -> None:
    """Run trials until the budget is spent."""
    import lenet.training.fit  # noqa: F401  (its seconds of importing do not count as the first trial's)

    while True:
        trial = study.claim(worker)
        if trial is not None:
            objective.run(trial)
        elif study.is_over():
            return
        else:
            time.sleep(POLL_SECONDS)
