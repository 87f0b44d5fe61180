"""Many runs asked for at once: processes of one thread each, or one a GPU, and MLflow told by the one that waits."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.context
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from lenet.config.schema import Config
from lenet.core.cli_errors import SIGNAL_BASE
from lenet.core.errors import LenetError, RunFailedError, Stopped
from lenet.core.log import configure_logging
from lenet.core.project import Project
from lenet.data.datasets import ensure_prepared
from lenet.execution.runner import Runner, validate_resources
from lenet.runs.get_or_train import RunMetadata, RunResult
from lenet.runs.run_dir import FINISHED

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Two processes of one thread train more than one of two."""

PRELOADED = ["lenet.execution.forkserver_preload"]
"""What the server of processes imports."""


@dataclass(frozen=True)
class RunRequest:
    """A run that is asked for, and by whom."""

    config: Config
    origin: RunMetadata


def default_workers() -> int:
    """Return one worker a GPU, or one a core where there is no GPU."""
    if any(Path("/dev").glob("nvidia[0-9]*")):  # otherwise torch's seconds of importing would tell nothing new
        import torch

        if found := torch.cuda.device_count():
            return int(found)
    return len(os.sched_getaffinity(0))


def assign_gpu(slot: int, devices: int = 1) -> None:
    """Leave this process its GPUs, in turn, where there are any; CUDA reads the variable when it is first used."""
    import torch

    found = torch.cuda.device_count()
    if found:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(number) for number in range(found)]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(share(names, slot, devices))


def share(names: Sequence[str], slot: int, devices: int) -> list[str]:
    """Return the GPUs of the process in this slot: as many as a run trains on, in turn, none twice."""
    return [names[(slot * devices + number) % len(names)] for number in range(min(devices, len(names)))]


def process_context() -> multiprocessing.context.ForkServerContext:
    """Return where training processes come from: a server that has imported what they need, and forks them in no time.

    It has computed nothing, so that no thread of a library is lost by the fork, and it ends with the command. Ctrl-C
    does not reach it: a terminal sends it to every process, and one that is importing would answer with a traceback.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is ignored stays so in a program that is started
    try:
        with one_thread_each():
            forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
    return context


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within the block new processes compute with one thread; their libraries read it when they are loaded."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
            pool = stack.enter_context(training_pool(size, devices))
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


@contextmanager
def training_pool(size: int, devices: int = 1) -> Iterator[ProcessPoolExecutor]:
    """Give processes of one thread each, or of a run's GPUs, that have imported what training and evaluating need."""
    context = process_context()
    slots = context.Value("i", 0)
    with one_thread_each():
        pool = ProcessPoolExecutor(max_workers=size, mp_context=context, initializer=_begin, initargs=(slots, devices))
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(slots: Any, devices: int) -> None:
    from lenet.core.parent_death import die_with_parent
    from lenet.training.cpu_tuning import configure_openmp

    signal.signal(signal.SIGINT, signal.default_int_handler)
    die_with_parent(signal.SIGTERM)
    configure_logging(logging.WARNING)  # the command that waits for the workers tells of the progress
    configure_openmp()
    with slots.get_lock():
        slot, slots.value = slots.value, slots.value + 1
    assign_gpu(slot, devices)


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
