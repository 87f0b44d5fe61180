"""The data set in memory on the device, handed out as ready batches.

The order of an epoch and its augmentation are a pure function of (seed, epoch): an interrupted training resumes at an
epoch's start to the same batches, on any device, without any generator's state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lenet.data.augment import RandomShift

BATCHES_A_CHUNK, IMAGES_A_CHUNK = 20, 2560
"""Mini-batches handed to one training step, at least so many with at least so many images, or as many as one optimizer
step accumulates: enough to make Lightning's cost per step vanish."""

EVALUATION_BATCH = 1000
"""Images a batch where no gradient is taken."""


@dataclass(frozen=True)
class BatchChunk:
    """Consecutive mini-batches of one epoch.

    Attributes:
        windows: the training images.
        indices: which of them are shown [m].
        offsets: where the window of each is cut [m, 2].
        labels: class numbers [m].
        batch_size: images a mini-batch; the last may have fewer.
        accumulate: mini-batches an optimizer step; the last step of an epoch may have fewer.
        first_step: number of the first optimizer step within its epoch.
    """

    windows: RandomShift
    indices: Tensor
    offsets: Tensor
    labels: Tensor
    batch_size: int
    accumulate: int
    first_step: int

    @cached_property
    def images(self) -> Tensor:
        """The windows, cut: bytes [m, channels, height, width], as large as the network takes them."""
        return self.windows.cut(self.indices, self.offsets)

    @property
    def step_count(self) -> int:
        """Optimizer steps of the chunk."""
        return -(-len(self.labels) // (self.batch_size * self.accumulate))

    def steps(self) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Give the mini-batches of each optimizer step, as images and labels."""
        images, labels = self.images.split(self.batch_size), self.labels.split(self.batch_size)
        batches = list(zip(images, labels, strict=True))
        for start in range(0, len(batches), self.accumulate):
            yield batches[start : start + self.accumulate]


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return the generator that draws an epoch's order and augmentation, the same on every machine."""
    generator = torch.Generator()
    # Consecutive seeds of the Mersenne twister are unrelated enough for a permutation; the factor keeps
    # (seed, epoch) pairs of one experiment apart.
    generator.manual_seed(seed * 1_000_003 + epoch)
    return generator


class TrainingBatches:
    """Iterates over one epoch's chunks, those of one rank where several processes share each batch.

    Args:
        windows: the training images.
        labels: their classes [n], on the same device.
        batch_size: images a mini-batch over all ranks.
        seed: the run's seed.
        epoch: returns the number of the epoch that an iteration begins.
        rank: this process's number.
        world: number of processes; each takes every world-th image of a batch.
        accumulate: mini-batches an optimizer step.
        max_batches: mini-batches an epoch; None takes all.
    """

    def __init__(
        self,
        windows: RandomShift,
        labels: Tensor,
        batch_size: int,
        seed: int,
        epoch: Callable[[], int],
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        max_batches: int | None = None,
    ) -> None:
        self._windows = windows
        self._labels = labels
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch
        self._rank = rank
        self._world = world
        self._accumulate = accumulate
        self._max_batches = max_batches

    @property
    def images(self) -> int:
        """Images of an epoch; what does not divide among the ranks is left out of that epoch."""
        images = len(self._labels) // self._world * self._world
        return images if self._max_batches is None else min(images, self._max_batches * self._batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return -(-self.images // (self._batch_size * self._accumulate))

    @property
    def _steps_a_chunk(self) -> int:
        batches = max(BATCHES_A_CHUNK, IMAGES_A_CHUNK * self._world // self._batch_size)
        return max(1, batches // self._accumulate)

    def __len__(self) -> int:
        return -(-self.steps // self._steps_a_chunk)

    def __iter__(self) -> Iterator[BatchChunk]:
        generator = epoch_generator(self._seed, self._epoch())
        order = torch.randperm(len(self._labels), generator=generator)[: self.images]
        offsets = self._windows.draw_offsets(len(order), generator)
        order, offsets = order[self._rank :: self._world], offsets[self._rank :: self._world]
        order, offsets = order.to(self._labels.device), offsets.to(self._labels.device)
        batch_size = self._batch_size // self._world
        size = batch_size * self._accumulate * self._steps_a_chunk
        for number, (indices, moved) in enumerate(zip(order.split(size), offsets.split(size), strict=True)):
            labels, first_step = self._labels[indices], number * self._steps_a_chunk
            yield BatchChunk(self._windows, indices, moved, labels, batch_size, self._accumulate, first_step)


class EvaluationBatches:
    """Iterates over images and labels that are read without a gradient, in their own order.

    Args:
        images: bytes [n, channels, height, width].
        labels: class numbers [n], on the same device.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        return -(-len(self.labels) // EVALUATION_BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.images.split(EVALUATION_BATCH), self.labels.split(EVALUATION_BATCH), strict=True)
