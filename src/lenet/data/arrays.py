"""Reading a prepared data set: the card, and arrays that are checked against it every time they are loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.core.atomic_io import check_digest, read_json
from lenet.core.errors import DamagedError, DataError

FORMAT = 2
"""Of card and arrays; a change of either counts it up."""

WHITE = 255
LEVELS = 256
COUNTED_AT_ONCE = 5000
"""Images whose pixels are counted at once, which takes eight bytes a pixel."""

CARD = "card.json"
TRAIN_ARRAYS = ("train/images.npy", "train/labels.npy", "train/order.npy")
TEST_ARRAYS = ("test/images.npy", "test/labels.npy")
ARRAYS = TRAIN_ARRAYS + TEST_ARRAYS


@dataclass(frozen=True)
class TrainingArrays:
    """The official training set, whole.

    Attributes:
        images: uint8 [n, channels, height, width], 0 is background.
        labels: uint8 [n].
        order: int64 [n], the indices in the order that `split` cuts into training and validation.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    order: NDArray[np.int64]


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of the prepared data set in `folder`.

    Its keys: format, name, classes (names), image_shape (channels, height, width), split, counts (images and per_class
    of train, validation and test), mean and deviation (of each channel of the training part, as fractions of 255),
    arrays (sha256 of each), training_digest, test_digest, raw (sha256 of each original file).

    Raises:
        DataError: the data set is not prepared.
        DamagedError: the card is damaged or another version's.
    """
    path = folder / CARD
    if not path.is_file():
        raise DataError(f"{folder}: holds no prepared data set; run: lenet data {folder.name}")
    try:
        card = read_json(path)
    except DamagedError as error:
        raise DamagedError(f"{path}: is damaged; {_remedy(folder)}") from error
    if card.get("format") != FORMAT:
        raise DamagedError(f"{path}: has format {card.get('format')}, this version reads {FORMAT}; {_remedy(folder)}")
    return card


def training_digest(folder: Path) -> str:
    """Return the digest of the training arrays as the card has it, without reading them; raises as `read_card`."""
    return str(read_card(folder)["training_digest"])


def load_training(folder: Path) -> TrainingArrays:
    """Return the training arrays, read only; this process reads and checks them once, for all of its runs.

    Raises:
        DataError: the data set is not prepared.
        DamagedError: the card or an array is damaged.
    """
    changed = [(folder / name).stat().st_mtime_ns for name in TRAIN_ARRAYS if (folder / name).is_file()]
    return _load_training(folder, training_digest(folder), tuple(changed))


@lru_cache(maxsize=1)
def _load_training(folder: Path, digest: str, changed: tuple[int, ...]) -> TrainingArrays:
    card = read_card(folder)
    images, labels, order = (_load(folder, name, card) for name in TRAIN_ARRAYS)
    return TrainingArrays(images, labels, order)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel of bytes [n, channels, h, w] on the scale 0 to 1."""
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = np.zeros(LEVELS, dtype=np.int64)
        for start in range(0, len(images), COUNTED_AT_ONCE):
            counts += np.bincount(images[start : start + COUNTED_AT_ONCE, channel].reshape(-1), minlength=LEVELS)
        # Whole numbers up to the last division: the same on every machine, in any order of summing.
        histogram = [int(count) for count in counts]
        pixels = sum(histogram)
        first = sum(level * count for level, count in enumerate(histogram))
        second = sum(level * level * count for level, count in enumerate(histogram))
        means.append(first / pixels / WHITE)
        deviations.append(math.sqrt((pixels * second - first * first) / (pixels * pixels)) / WHITE)
    return means, deviations


def load_test(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Load the test set: images uint8 [m, channels, height, width] and labels uint8 [m].

    Only evaluation calls this. Whoever chooses anything after looking at these images has no test set any more.

    Raises:
        DataError: the data set is not prepared.
        DamagedError: the card or an array is damaged.
    """
    card = read_card(folder)
    images, labels = (_load(folder, name, card) for name in TEST_ARRAYS)
    return images, labels


def _load(folder: Path, name: str, card: dict[str, Any]) -> NDArray[Any]:
    path = folder / name
    check_digest(path, card["arrays"][name], _remedy(folder))
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _remedy(folder: Path) -> str:
    return f"run: lenet prepare {folder.name}"
