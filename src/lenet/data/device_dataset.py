"""A prepared data set in a device's memory, kept there for the next run that this process trains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lenet.config.schema import DataConfig
from lenet.data.arrays import channel_statistics, load_training, training_digest
from lenet.data.augment import RandomShift
from lenet.data.loader import EvaluationBatches
from lenet.data.split import split

KEPT_WINDOWS = 3
"""Padded copies of the training images that stay in memory, one for each shift of the runs that are trained in turn."""


@dataclass(frozen=True)
class DeviceDataset:
    """What training reads of a data set; read only, since the next run may read it too.

    Attributes:
        images: training images, bytes [n, channels, height, width].
        labels: their classes [n].
        validation: the images held out; None where there are none.
        mean: of the training pixels of each channel, on the scale 0 to 1.
        deviation: of the same, on the same scale.
    """

    images: Tensor
    labels: Tensor
    validation: EvaluationBatches | None
    mean: list[float]
    deviation: list[float]


def load_to_device(prepared: Path, data: DataConfig, device: torch.device) -> DeviceDataset:
    """Return the training and validation parts on a device: read and checked once, then kept.

    Raises:
        ConfigError: the config has more images than there are.
        DataError: the data set is not prepared.
        DamagedError: the card or an array is damaged.
    """
    return _place(prepared, training_digest(prepared), data.train_size, data.validation_size, device)


@lru_cache(maxsize=1)
def _place(
    prepared: Path, digest: str, train_size: int | None, validation_size: int, device: torch.device
) -> DeviceDataset:
    arrays = load_training(prepared)
    train, held_out = (torch.from_numpy(part) for part in split(arrays.order, train_size, validation_size))
    images, labels = torch.from_numpy(arrays.images), torch.from_numpy(arrays.labels.astype(np.int64))
    chosen = images[train]
    mean, deviation = channel_statistics(chosen.numpy())
    validation = EvaluationBatches(images[held_out].to(device), labels[held_out].to(device)) if len(held_out) else None
    return DeviceDataset(chosen.to(device), labels[train].to(device), validation, mean, deviation)


@lru_cache(maxsize=KEPT_WINDOWS)
def load_windows_to_device(images: Tensor, input_size: tuple[int, int], shift: int) -> RandomShift:
    """Return the windows of a data set on a device, made once for each shift; a tensor is known by being itself."""
    return RandomShift(images, input_size, shift)
