"""Worker processes: forked from a server that has imported what they need, and ended when their parent ends."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, forkserver
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

from lenet.core.errors import EXIT_FAILED, Stopped
from lenet.core.log import configure_logging

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2)."""

GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")
"""Device files of NVIDIA's and AMD's drivers, and of Windows' subsystem for Linux."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Two processes of one thread train more than one of two."""


def die_with_parent(signum: signal.Signals) -> None:
    """Send this process `signum` when the one that started it ends, killed or not.

    A stage that DVC started would train on as an orphan when DVC is killed, beside the one that the next
    `dvc repro` starts. Of a worker the parent is a server of processes, which lives as long as any worker, so that a
    thread waits for the command itself. For other processes the kernel does it; Linux alone can.
    """
    command = multiprocessing.parent_process()
    if command is not None:
        Thread(target=_die_after, args=(command.sentinel, signum), name="parent", daemon=True).start()
    elif sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(EXIT_FAILED)  # it ended before prctl was called


def _die_after(sentinel: int, signum: signal.Signals) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signum)


def default_workers() -> int:
    """Return the number of workers for this machine: one a GPU, or one a core where there is no GPU."""
    return gpu_count() or cores()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def gpu_count() -> int:
    """Return how many GPUs torch can use."""
    if not any(any(Path("/dev").glob(name)) for name in GPU_DEVICES):  # spares the seconds of importing torch
        return 0
    import torch

    return int(torch.cuda.device_count())


def assign_gpu(slot: int, devices: int = 1) -> None:
    """Restrict this process to its share of the GPUs, where there are any; to be called before CUDA is used.

    Args:
        slot: the worker's number.
        devices: GPUs that one run trains on.
    """
    import torch

    found = torch.cuda.device_count()
    if found:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = visible.split(",") if visible else [str(number) for number in range(found)]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(share(names, slot, devices))


def share(names: Sequence[str], slot: int, devices: int) -> list[str]:
    """Return the GPUs of the worker in a slot: as many as a run trains on, in turn, none twice."""
    return [names[(slot * devices + number) % len(names)] for number in range(min(devices, len(names)))]


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Have processes that are started in the block compute with one thread; libraries read it when they are loaded."""
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


def process_context(preload: Sequence[str]) -> multiprocessing.context.ForkServerContext:
    """Start the server that worker processes are forked from; the first call of a process says what it imports.

    The server has computed nothing, so that no thread of a library is lost by the fork, and it ends with the command.
    Ctrl-C does not reach it: a terminal sends it to every process, and one that is importing would show a traceback.

    Args:
        preload: names of modules that take seconds to import.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lenet.core.fast_imports", *preload])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is ignored stays so in a program that is started
    try:
        with one_thread_each():
            forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
    return context


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise Stopped at Ctrl-C and SIGTERM within the block."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def process_pool(
    size: int, initializer: Callable[[], None], preload: Sequence[str], devices: int = 1
) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes of one thread each, or of `devices` GPUs each, that end with this process.

    A signal that ends the block ends them too, wherever they are in their work.

    Args:
        size: number of processes.
        initializer: called first in each of them.
        preload: as for `process_context`.
        devices: GPUs a process.
    """
    context = process_context(preload)
    slots = context.Value("i", 0)
    with one_thread_each():
        pool = ProcessPoolExecutor(
            max_workers=size, mp_context=context, initializer=_begin, initargs=(slots, devices, initializer)
        )
        try:
            yield pool
        except (Stopped, KeyboardInterrupt):
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(slots: Any, devices: int, initializer: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    die_with_parent(signal.SIGTERM)
    configure_logging(logging.WARNING)  # the process that waits for the workers reports their progress
    initializer()
    with slots.get_lock():
        slot, slots.value = slots.value, slots.value + 1
    assign_gpu(slot, devices)
