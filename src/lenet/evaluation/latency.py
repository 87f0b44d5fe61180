"""The cost of a network in use: its parameters, the bytes of its weights, its latency on one CPU thread."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

BATCHES = (1, 64)
"""Images in one call: a single one while somebody waits, and a batch."""

WARM_UP_CALLS = 10
"""Calls that are not timed: the first ones choose kernels, allocate and fill the caches."""

MAX_REPEATS = 200
MIN_REPEATS = 20
SECONDS = 0.15
"""Wall time after which no more than MIN_REPEATS calls are timed."""

SEED = 0
MILLISECONDS_PER_SECOND = 1000.0


@dataclass(frozen=True)
class Latency:
    """How long one call takes, from bytes to logits.

    Attributes:
        images: images in a call.
        median_ms: half of the calls take no longer, in milliseconds for the whole call.
        lower_quartile_ms: a quarter of them takes no longer.
        upper_quartile_ms: three quarters of them take no longer.
        repeats: calls that were timed.
    """

    images: int
    median_ms: float
    lower_quartile_ms: float
    upper_quartile_ms: float
    repeats: int


def count_parameters(network: nn.Module) -> int:
    """Return how many numbers training sets: 61,706 in the textbook LeNet-5."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_weight_bytes(network: nn.Module) -> int:
    """Return the bytes of all tensors of the state: parameters, running statistics, and the normalisation of images."""
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())


@contextmanager
def _one_thread() -> Iterator[None]:
    threads, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(1)
    gc.disable()  # as timeit does: a collection in the middle of a call is not the network's doing
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if collecting:
            gc.enable()


def _time_calls(call: Callable[[], object]) -> list[float]:
    for _ in range(WARM_UP_CALLS):
        call()
    seconds: list[float] = []
    deadline = time.perf_counter() + SECONDS
    while len(seconds) < MIN_REPEATS or (len(seconds) < MAX_REPEATS and time.perf_counter() < deadline):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_latency(network: nn.Module, images: int = 1) -> Latency:
    """Time a network on one CPU thread, for a fraction of a second; the network itself stays as and where it is.

    The median, because other programs only ever make a call slower; the quartiles say how quiet the machine was. The
    images are random bytes: the time of these layers does not depend on what the images show.

    Args:
        network: from bytes [n, *image_shape] to logits, with the attribute image_shape as `Classifier` has it; on any
            device, training or not.
        images: images in a call, at least 1.

    Raises:
        ValueError: there is no image in a call.
    """
    if images < 1:
        raise ValueError(f"{images} images: nothing can be timed")
    shape = cast(tuple[int, ...], network.image_shape)
    generator = torch.Generator().manual_seed(SEED)
    batch = torch.randint(0, 256, (images, *shape), dtype=torch.uint8, generator=generator)
    copied = copy.deepcopy(network).cpu().eval()
    with _one_thread(), torch.inference_mode():
        seconds = _time_calls(lambda: copied(batch))
    low, median, high = MILLISECONDS_PER_SECOND * np.percentile(seconds, (25, 50, 75))
    return Latency(images, float(median), float(low), float(high), len(seconds))
