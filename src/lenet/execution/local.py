"""Train many runs at once, in processes of one thread or one GPU each; the waiting process writes to MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lenet.config.schema import Config
from lenet.core.cli_errors import SIGNAL_BASE
from lenet.core.errors import LenetError, RunFailedError, Stopped
from lenet.core.processes import default_workers, process_pool
from lenet.core.project import Project
from lenet.data.datasets import ensure_prepared
from lenet.execution.runner import Runner, validate_resources
from lenet.runs.get_or_train import RunMetadata, RunResult
from lenet.runs.run_dir import FINISHED
from lenet.training.cpu_tuning import configure_openmp

PRELOADED = ("optuna", "lenet.runs.get_or_train", "lenet.training.fit")
"""What takes training processes seconds to import."""


@dataclass(frozen=True)
class RunRequest:
    """A run that is asked for, and by whom."""

    config: Config
    origin: RunMetadata


def run_all(
    project: Project, wishes: Sequence[RunRequest], workers: int, tell: Callable[[str], None], may_fail: bool = False
) -> list[RunResult]:
    """Answer for many runs: from their folders, or by training as many at once as there are workers.

    Args:
        project: where things are.
        wishes: the runs; asked for in this order.
        workers: processes; 0 is `default_workers`, fewer where a run trains on several devices.
        tell: takes a line for the user.
        may_fail: a training that fails for a reason of its own is an answer too, `failed: …`, and the others go on.

    Raises:
        RunFailedError: a training failed for a reason of its own, and none may.
        LenetError: a worker was killed.
        Stopped: a signal ended it; each run keeps its epochs.
    """
    for name in dict.fromkeys(wish.config.data.name for wish in wishes):
        ensure_prepared(project, name, tell)
    for wish in wishes:
        validate_resources(project, wish.config)
    outcomes: dict[int, RunResult] = {}
    with Runner(project, tell) as laboratory, ExitStack() as stack:
        folders = [laboratory.folder(wish.config) for wish in wishes]
        finished = [number for number, folder in enumerate(folders) if folder.state() == FINISHED]
        trainers: dict[str, int] = {}  # a run that is wished for twice is trained for the first who does
        for number, folder in enumerate(folders):
            if number not in finished:
                trainers.setdefault(folder.fingerprint, number)
        waiting: dict[Future[Any], int] = {}
        if trainers:  # otherwise no process has to be made ready
            devices = max(wish.config.trainer.devices for wish in wishes)
            size = min(workers or max(1, default_workers() // devices), len(trainers))
            pool = stack.enter_context(process_pool(size, configure_openmp, PRELOADED, devices))
            for number in trainers.values():
                wish = wishes[number]
                waiting[pool.submit(_train, project.root, project.home, wish.config, wish.origin)] = number
        try:
            for number in finished:
                outcomes[number] = laboratory.get_or_train(wishes[number].config, wishes[number].origin)
            for done in as_completed(waiting):
                wish = wishes[waiting[done]]
                # MLflow and the pictures are shown here: workers leave them out
                if may_fail and isinstance(done.exception(), RunFailedError):
                    outcome = laboratory.run_allow_failure(wish.config, wish.origin)
                else:
                    answer = done.result()
                    outcome = RunResult(laboratory.get_or_train(wish.config, wish.origin).folder, answer)
                outcomes[waiting[done]] = outcome
                tell(f"{outcome.folder.short}  {wish.origin.name}: {outcome.answer}")
        except BrokenProcessPool as error:
            raise LenetError("a training process was killed; the same command goes on from the last epochs") from error
        for number, wish in enumerate(wishes):
            if number not in outcomes:
                first = outcomes[trainers[folders[number].fingerprint]]
                has_failed = first.folder.state() != FINISHED
                outcomes[number] = first if has_failed else laboratory.get_or_train(wish.config, wish.origin)
    return [outcomes[number] for number in range(len(wishes))]


def _train(root: Path, home: Path, config: Config, origin: RunMetadata) -> str:
    from lenet.data.arrays import training_digest
    from lenet.runs.get_or_train import get_or_train

    project = Project(root=root, home=home)
    # One thread and no bar: how a run is trained is no part of what it is.
    quiet = replace(config, trainer=replace(config.trainer, threads=1, progress=False))
    digest = training_digest(project.prepared(config.data.name))
    try:
        return get_or_train(project, quiet, digest, origin, _ignore, _ignore).answer
    except Stopped as stop:
        # An exception would be an answer to the pool, and the next run would begin: told to end, the process ends.
        os._exit(SIGNAL_BASE + stop.signum)


def _ignore(_: object) -> None:
    pass
