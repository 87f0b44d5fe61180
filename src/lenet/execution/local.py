"""Train many runs at once, in processes of one thread or one GPU each; the waiting process writes to MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace

from lenet.config.schema import Config
from lenet.core.cli_errors import SIGNAL_BASE
from lenet.core.errors import LenetError, RunFailedError, Stopped
from lenet.core.processes import default_workers, process_pool
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.execution.runner import Runner, validate_resources
from lenet.runs.get_or_train import RunMetadata, RunResult, get_or_train
from lenet.runs.run_dir import FINISHED
from lenet.tracking.destination import with_experiment
from lenet.training.cpu_tuning import configure_openmp

logger = logging.getLogger(__name__)

PRELOADED = ("optuna", "lenet.runs.get_or_train", "lenet.training.fit")
"""What takes training processes seconds to import."""


@dataclass(frozen=True)
class RunRequest:
    """A run to be trained where it is not finished, and what is recorded with it."""

    config: Config
    metadata: RunMetadata


def run_all(project: Project, requests: Sequence[RunRequest], workers: int, may_fail: bool = False) -> list[RunResult]:
    """Get or train many runs, as many at once as there are workers, and return their results in the same order.

    Args:
        project: its home holds the runs.
        requests: the runs; one that is requested twice is trained once.
        workers: processes; 0 is `default_workers`, fewer where a run trains on several devices.
        may_fail: a training that fails for a reason of its own has the result `failed: …`, and the others go on.

    Raises:
        RunFailedError: a training failed for a reason of its own, and none may.
        LenetError: a worker was killed.
        Stopped: a signal ended it; each run keeps its epochs.
    """
    results: dict[int, RunResult] = {}
    with Runner(project) as runner, ExitStack() as stack:
        run_dirs = [runner.run_dir(request.config) for request in requests]
        for request in requests:
            validate_resources(project, request.config)
        unfinished = {
            run_dir.fingerprint: number
            for number, run_dir in reversed(list(enumerate(run_dirs)))
            if run_dir.state() != FINISHED
        }
        waiting: dict[Future[str], int] = {}
        if unfinished:  # otherwise no process has to be started
            devices = max(request.config.trainer.devices for request in requests)
            size = min(workers or max(1, default_workers() // devices), len(unfinished))
            pool = stack.enter_context(process_pool(size, configure_openmp, PRELOADED, devices))
            for number in sorted(unfinished.values()):
                config = with_experiment(project, run_dirs[number], requests[number].config)
                waiting[pool.submit(_train, project, config, requests[number].metadata)] = number
        try:
            for future in as_completed(waiting):
                number = waiting[future]
                config, metadata = requests[number].config, requests[number].metadata
                error = future.exception()
                if error is not None and not (may_fail and isinstance(error, RunFailedError)):
                    raise error
                # Workers leave figures and MLflow to this process.
                result = runner.get_or_train(config, metadata, may_fail)
                results[number] = result if error else replace(result, outcome=future.result())
                logger.info(f"{result.run_dir.short}  {metadata.name}: {results[number].outcome}")
        except BrokenProcessPool as error:
            raise LenetError("a training process was killed; the same command goes on from the last epochs") from error
        for number, request in enumerate(requests):
            if number not in results:
                results[number] = runner.get_or_train(request.config, request.metadata, may_fail)
    return [results[number] for number in range(len(requests))]


def _train(project: Project, config: Config, metadata: RunMetadata) -> str:
    # One thread and no bar: how a run is trained is no part of what it is.
    quiet = replace(config, trainer=replace(config.trainer, threads=1, progress=False))
    try:
        return get_or_train(project, quiet, training_digest(project.prepared(config.data.name)), metadata).outcome
    except Stopped as stop:
        os._exit(SIGNAL_BASE + stop.signum)  # after an exception the pool would begin the next run
