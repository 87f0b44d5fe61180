"""Train many runs at once, in processes that share the cores or GPUs; the waiting process writes to MLflow."""

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
from lenet.core.processes import cores, default_workers, process_context, process_pool, stop_on_signals
from lenet.core.project import Project
from lenet.data.arrays import CARD, training_digest
from lenet.execution.live_table import LiveTable
from lenet.execution.runner import Runner, draw, validate_resources
from lenet.kernels.choice import FUSED, resolve_kernel
from lenet.runs.get_or_train import RunMetadata, RunResult, get_or_train
from lenet.runs.run_dir import FINISHED, RunDir, run_dir_for
from lenet.tracking.destination import with_experiment
from lenet.training.cpu_tuning import configure_openmp

logger = logging.getLogger(__name__)

PRELOADED = (
    "lenet.runs.get_or_train",
    "lenet.training.fit",
    "lenet.evaluation.plots.run",
    "matplotlib.backends.backend_agg",
)
"""What takes training processes seconds to import."""


@dataclass(frozen=True)
class RunRequest:
    """A run to be trained where it is not finished, and what is recorded with it."""

    config: Config
    metadata: RunMetadata


def start_workers(project: Project, config: Config) -> None:
    """Begin to import what workers need, if a run is still to be trained, and return at once."""
    prepared = project.prepared(config.data.name)
    if not (prepared / CARD).is_file() or config.trainer.max_batches is not None:
        return
    if run_dir_for(project, config, training_digest(prepared)).state() != FINISHED:
        process_context(PRELOADED)


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
    with Runner(project) as runner, stop_on_signals(), ExitStack() as stack:
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
            table = stack.enter_context(_live_table(requests, run_dirs))
            pool = stack.enter_context(process_pool(size, configure_openmp, PRELOADED, devices))
            for number in sorted(unfinished.values()):
                config = with_experiment(project, run_dirs[number], requests[number].config)
                runner.start_sync(config)
                threads = max(1, cores() // size)
                waiting[pool.submit(_train, project, config, requests[number].metadata, threads)] = number
        try:
            for future in as_completed(waiting):
                number = waiting[future]
                config, metadata = requests[number].config, requests[number].metadata
                error = future.exception()
                if error is not None and not (may_fail and isinstance(error, RunFailedError)):
                    raise error
                # Workers leave MLflow to this process.
                result = runner.get_or_train(config, metadata, may_fail)
                results[number] = result if error else replace(result, outcome=future.result())
                table.done(result.run_dir, results[number].outcome)
                logger.info(f"{result.run_dir.short}  {metadata.name}: {results[number].outcome}")
        except BrokenProcessPool as error:
            raise LenetError("a training process was killed; the same command goes on from the last epochs") from error
        for number, request in enumerate(requests):
            if number not in results:
                results[number] = runner.get_or_train(request.config, request.metadata, may_fail)
    return [results[number] for number in range(len(requests))]


def _live_table(requests: Sequence[RunRequest], run_dirs: Sequence[RunDir]) -> LiveTable:
    names, epochs = zip(*((one.metadata.name, one.config.trainer.epochs) for one in requests), strict=True)
    return LiveTable(names, run_dirs, epochs, all(one.config.trainer.progress for one in requests))


def _train(project: Project, config: Config, metadata: RunMetadata, threads: int) -> str:
    # How a run is trained is no part of what it is; torch alone sums in another order with another number of threads.
    threads = threads if resolve_kernel(config).trainer.kernel == FUSED else 1
    quiet = replace(config, trainer=replace(config.trainer, threads=threads, progress=False))
    try:
        result = get_or_train(project, quiet, training_digest(project.prepared(config.data.name)), metadata)
        draw(result.run_dir, project)
        return result.outcome
    except Stopped as stop:
        os._exit(SIGNAL_BASE + stop.signum)  # after an exception the pool would begin the next run
