"""A worker: one process of one thread, or on one GPU, that takes trials until the budget is spent."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from lenet.core.cli_errors import SIGNAL_BASE, exit_on_error, hide_passwords
from lenet.core.errors import Stopped
from lenet.core.log import configure_logging
from lenet.core.processes import assign_gpu, die_with_parent
from lenet.core.project import Project

if TYPE_CHECKING:
    from lenet.search.objective import Objective
    from lenet.search.study import SearchStudy

WAIT_SECONDS = 0.3
"""Between two looks at a study whose last trials others are at: one of them may leave its trial behind."""


def work(root: Path, home: Path, words: tuple[str, ...], slot: int) -> None:
    """Answer trials of the search that `words` describe; the entry of a worker's process.

    Args:
        root: the project's root.
        home: its home.
        words: what was typed to `lenet search`.
        slot: the worker's number within its crew; where there are GPUs it says which one is used.
    """
    configure_logging()
    hide_passwords()
    _listen()
    die_with_parent(signal.SIGTERM)
    try:
        exit_on_error(lambda: _obey(Project(root=root, home=home), words, slot))
    except _Obeyed as end:
        sys.exit(end.code)


class _Obeyed(BaseException):
    """The worker ended as it was told to; the command that leads it says so once for all of them."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def _obey(project: Project, words: tuple[str, ...], slot: int) -> None:
    try:
        _work(project, words, slot)
    except Stopped as stop:
        raise _Obeyed(SIGNAL_BASE + stop.signum) from None


def _listen() -> None:
    """Have Ctrl-C and SIGTERM end the work as Stopped; a second one changes nothing, the first is being obeyed."""
    heard: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        if not heard:
            heard.append(signum)
            raise Stopped(signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)


def _work(project: Project, words: tuple[str, ...], slot: int) -> None:
    from lenet.data.arrays import training_digest
    from lenet.search.objective import Objective
    from lenet.search.spec import read_spec
    from lenet.search.storage import open_storage, storage_errors, study_url
    from lenet.search.study import SearchStudy
    from lenet.training.cpu_tuning import configure_openmp

    configure_openmp()
    assign_gpu(slot)
    question = read_spec(project, words)
    digest = training_digest(project.prepared(question.base.data.name))
    storage = open_storage(project, study_url(project, question.search.storage))
    name = question.study_name(digest)
    with storage_errors(storage.url), ExitStack() as stack:
        seat = SearchStudy(question, storage, name).register_worker(stack)
        shared = SearchStudy(question, storage, name, worker=seat)
        _answer_all(shared, Objective(shared, digest), seat)


def _answer_all(shared: SearchStudy, trials: Objective, seat: int) -> None:
    import lenet.training.fit  # noqa: F401  (its seconds of importing are not the first trial's)

    while True:
        trial = shared.claim(seat)
        if trial is not None:
            trials.answer(trial)
        elif shared.is_over():
            return
        else:
            time.sleep(WAIT_SECONDS)
