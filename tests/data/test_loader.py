from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import pytest
import torch

from lenet.data import loader
from lenet.data.augment import RandomShift
from lenet.data.loader import (
    BATCHES_A_CHUNK,
    EVALUATION_BATCH,
    IMAGES_A_CHUNK,
    EvaluationBatches,
    TrainingBatches,
    epoch_generator,
)


def batches(
    count: int = 103, size: int = 8, seed: int = 1, epoch: int = 0, rank: int = 0, world: int = 1, shift: int = 1
) -> TrainingBatches:
    """Batches of images that hold their own number, labelled with it too."""
    numbers = torch.arange(count)
    images = (numbers % 251 + 1).to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous()
    windows = RandomShift(images, (32, 32), shift)
    return TrainingBatches(windows, numbers, size, seed, lambda: epoch, rank, world)


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def labels_of(found: TrainingBatches) -> list[list[int]]:
    return [labels.tolist() for chunk in found for step in chunk.steps() for _, labels in step]


def test_every_image_is_shown_once_an_epoch() -> None:
    shown = labels_of(batches())
    assert sorted(flat(shown)) == list(range(103))
    assert [len(labels) for labels in shown] == [8] * 12 + [7]
    assert flat(shown) != list(range(103))


def test_images_keep_their_labels() -> None:
    for chunk in batches(count=250):
        for images, labels in (batch for step in chunk.steps() for batch in step):
            assert images.shape == (len(labels), 1, 32, 32)
            assert torch.equal(images.flatten(1).max(dim=1).values.long(), labels % 251 + 1)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of so many mini-batches, however few images they have."""
    monkeypatch.setattr(loader, "IMAGES_A_CHUNK", 1)


def test_a_chunk_of_small_batches_has_many_of_them() -> None:
    chunks = list(batches(count=3000, size=1))
    assert [chunk.step_count for chunk in chunks] == [IMAGES_A_CHUNK, 3000 - IMAGES_A_CHUNK]


def test_batches_are_numbered_through_the_chunks(small_chunks: None) -> None:
    found = batches(count=8 * 45 + 3)
    chunks = list(found)
    assert found.steps == 46
    assert len(found) == len(chunks) == 3
    assert [chunk.first_step for chunk in chunks] == [0, BATCHES_A_CHUNK, 2 * BATCHES_A_CHUNK]
    assert [chunk.step_count for chunk in chunks] == [len(list(chunk.steps())) for chunk in chunks]
    assert sum(chunk.step_count for chunk in chunks) == 46


@pytest.mark.parametrize(("count", "size", "steps"), [(8, 8, 1), (9, 8, 2), (3, 8, 1), (160, 8, 20), (161, 8, 21)])
def test_steps_of_an_epoch(count: int, size: int, steps: int, small_chunks: None) -> None:
    found = batches(count=count, size=size)
    assert found.steps == steps == len(labels_of(found))
    assert len(found) == len(list(found)) == -(-steps // BATCHES_A_CHUNK)


def test_order_and_distortion_are_a_function_of_seed_and_epoch() -> None:
    def shown(**knobs: int) -> tuple[list[list[int]], torch.Tensor]:
        found = batches(**knobs)
        return labels_of(found), torch.cat([chunk.images for chunk in found])

    order, images = shown(seed=3, epoch=5)
    torch.manual_seed(99)  # the global generator plays no part
    torch.rand(10)
    again, same_images = shown(seed=3, epoch=5)
    assert order == again
    assert torch.equal(images, same_images)
    for other in ({"seed": 3, "epoch": 6}, {"seed": 4, "epoch": 5}, {"seed": 5, "epoch": 3}):
        assert shown(**other)[0] != order


def test_the_epoch_is_asked_for_when_an_iteration_begins() -> None:
    epoch = 0
    windows = RandomShift(torch.zeros(50, 1, 28, 28, dtype=torch.uint8), (32, 32), 0)
    found = TrainingBatches(windows, torch.arange(50), 8, 1, lambda: epoch)
    first = labels_of(found)
    epoch = 1
    second = labels_of(found)
    assert first == labels_of(batches(count=50, epoch=0, shift=0))
    assert second == labels_of(batches(count=50, epoch=1, shift=0))
    assert first != second


def test_generators_of_neighbouring_seeds_and_epochs_differ() -> None:
    drawn = {tuple(torch.randperm(20, generator=epoch_generator(s, e)).tolist()) for s in range(5) for e in range(5)}
    assert len(drawn) == 25
    assert epoch_generator(2**32 - 1, 100_000).initial_seed() == (2**32 - 1) * 1_000_003 + 100_000


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("count", [96, 103])
def test_ranks_share_each_batch_among_them(world: int, count: int) -> None:
    size = 12
    alone = labels_of(batches(count=count, size=size, epoch=2))
    ranks = [labels_of(batches(count=count, size=size, epoch=2, rank=rank, world=world)) for rank in range(world)]
    kept = count // world * world
    assert batches(count=count, size=size, world=world).images == kept
    assert len({len(shown) for shown in ranks}) == 1
    together = [sorted(flat(parts)) for parts in zip(*ranks, strict=True)]
    alone_flat = flat(alone)[:kept]
    assert together == [sorted(alone_flat[start : start + size]) for start in range(0, kept, size)]
    for parts in zip(*ranks, strict=True):
        assert len({len(part) for part in parts}) == 1  # DDP's mean of means is the mean
        assert len(set(flat(parts))) == sum(map(len, parts))


def test_ranks_cut_the_same_windows_as_one_process() -> None:
    image = torch.arange(28 * 28).reshape(28, 28) % 256
    windows = RandomShift(image.to(torch.uint8).expand(24, 1, 28, 28).contiguous(), (32, 32), 2)
    labels = torch.arange(24)

    def images(rank: int, world: int) -> dict[int, torch.Tensor]:
        found = TrainingBatches(windows, labels, 12, 1, lambda: 0, rank, world)
        return {int(label): one for chunk in found for one, label in zip(chunk.images, chunk.labels, strict=True)}

    alone, shared = images(0, 1), images(0, 2) | images(1, 2)
    assert alone.keys() == shared.keys()
    assert all(torch.equal(alone[label], shared[label]) for label in alone)


@pytest.mark.parametrize(("count", "sizes"), [(10, [10]), (1000, [1000]), (2300, [1000, 1000, 300])])
def test_evaluation_keeps_the_order(count: int, sizes: list[int]) -> None:
    images, labels = torch.zeros(count, 1, 28, 28, dtype=torch.uint8), torch.arange(count)
    found = EvaluationBatches(images, labels)
    parts = list(found)
    assert [len(part[1]) for part in parts] == sizes
    assert len(found) == len(sizes)
    assert max(sizes) <= EVALUATION_BATCH
    assert torch.equal(torch.cat([part[1] for part in parts]), labels)


@pytest.mark.parametrize(("accumulate", "steps"), [(2, 52), (3, 35), (25, 5)])
def test_an_optimizer_step_has_so_many_batches_and_the_last_one_the_rest(accumulate: int, steps: int) -> None:
    alone = batches(count=103 * 8 - 3)
    found = TrainingBatches(
        RandomShift(torch.zeros(821, 1, 4, 4, dtype=torch.uint8), (4, 4), 1),
        torch.arange(821),
        8,
        1,
        lambda: 0,
        accumulate=accumulate,
    )
    taken = [step for chunk in found for step in chunk.steps()]
    assert len(taken) == sum(chunk.step_count for chunk in found) == steps
    assert (found.steps, len(found)) == (steps, len(list(found)))
    assert [len(step) for step in taken] == [accumulate] * (steps - 1) + [103 - accumulate * (steps - 1)]
    assert labels_of(found) == labels_of(alone)


def test_max_batches_ends_an_epoch_early() -> None:
    windows = RandomShift(torch.zeros(50, 1, 4, 4, dtype=torch.uint8), (4, 4), 0)
    few = TrainingBatches(windows, torch.arange(50), 8, 1, lambda: 0, max_batches=3)
    every = TrainingBatches(windows, torch.arange(50), 8, 1, lambda: 0)
    assert (few.images, few.steps) == (24, 3)
    assert labels_of(few) == labels_of(every)[:3]
