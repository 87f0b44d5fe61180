from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lenet.config.schema import Config
from lenet.core.atomic_io import sha256_file, write_json
from lenet.core.errors import ConfigError, DataError
from lenet.data.arrays import channel_statistics, load_training, read_card
from lenet.data.device_dataset import load_to_device, load_windows_to_device
from lenet.data.split import split

CPU = torch.device("cpu")


def test_parts_are_those_of_the_split_and_the_card(make_config: Callable[..., Config], prepared: Path) -> None:
    data = make_config().data
    placed, arrays, card = load_to_device(prepared, data, CPU), load_training(prepared), read_card(prepared)
    train, held_out = split(arrays.order, data.train_size, data.validation_size)
    assert np.array_equal(placed.images.numpy(), arrays.images[train])
    assert np.array_equal(placed.labels.numpy(), arrays.labels[train])
    assert placed.validation is not None
    assert np.array_equal(placed.validation.images.numpy(), arrays.images[held_out])
    assert np.array_equal(placed.validation.labels.numpy(), arrays.labels[held_out])
    pixels = arrays.images[train] / 255
    assert placed.mean == pytest.approx([pixels.mean()], rel=1e-9)
    assert placed.deviation == pytest.approx([pixels.std()], rel=1e-9)
    assert card["name"] == data.name


def test_it_is_read_once_and_again_when_another_part_is_asked_for(
    make_config: Callable[..., Config], prepared: Path, tmp_path: Path
) -> None:
    data = make_config().data
    copy = shutil.copytree(prepared, tmp_path / "mnist")
    first = load_to_device(copy, data, CPU)
    (copy / "train" / "images.npy").unlink()
    assert load_to_device(copy, data, CPU) is first
    smaller = replace(data, train_size=100)
    assert len(load_to_device(prepared, smaller, CPU).labels) == 100


def test_another_set_at_the_same_path_is_read_anew(
    make_config: Callable[..., Config], prepared: Path, tmp_path: Path
) -> None:
    data, folder = make_config().data, shutil.copytree(prepared, tmp_path / "mnist")
    first = load_to_device(folder, data, CPU)
    labels = np.load(folder / "train" / "labels.npy")
    np.save(folder / "train" / "labels.npy", (labels + 1) % 10)
    card = read_card(folder)
    card["arrays"]["train/labels.npy"] = sha256_file(folder / "train" / "labels.npy")
    write_json(folder / "card.json", card | {"training_digest": "0" * 64})
    second = load_to_device(folder, data, CPU)
    assert torch.equal(second.labels, (first.labels + 1) % 10)
    assert torch.equal(second.images, first.images)


def test_no_validation_part(make_config: Callable[..., Config], prepared: Path) -> None:
    assert load_to_device(prepared, replace(make_config().data, validation_size=0), CPU).validation is None


def test_windows_are_made_once_a_shift() -> None:
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    assert load_windows_to_device(images, (32, 32), 1) is load_windows_to_device(images, (32, 32), 1)
    assert load_windows_to_device(images, (32, 32), 1) is not load_windows_to_device(images, (32, 32), 2)
    assert load_windows_to_device(images.clone(), (32, 32), 1) is not load_windows_to_device(images, (32, 32), 1)


def test_a_set_that_is_not_prepared_and_a_part_that_is_too_large(
    make_config: Callable[..., Config], prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="lenet data"):
        load_to_device(tmp_path / "mnist", make_config().data, CPU)
    with pytest.raises(ConfigError, match=r"data\.train_size"):
        load_to_device(prepared, replace(make_config().data, train_size=10**6), CPU)


def test_statistics_are_those_of_each_channel() -> None:
    images = np.array([[[[0, 255]], [[51, 51]]]], dtype=np.uint8)
    assert channel_statistics(images) == ([0.5, 0.2], [0.5, 0.0])
