"""From the four original files to arrays that load at once, and a card that says what they are.

train/images.npy  uint8 [n, 28, 28]        test/images.npy  uint8 [m, 28, 28]
train/labels.npy  uint8 [n]                test/labels.npy  uint8 [m]
train/order.npy   int64 [n], see split.py  card.json        written last, sealed
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.config.schema import DataConfig
from lenet.core.atomic_io import (
    atomic_write,
    canonical_json,
    check_digest,
    remove_half_written,
    sha256_bytes,
    sha256_file,
    write_json,
)
from lenet.core.errors import ConfigError, DataError
from lenet.core.file_lock import locked
from lenet.data.arrays import ARRAYS, CARD, FORMAT, TEST_ARRAYS, TRAIN_ARRAYS
from lenet.data.download.fetch import origin_files
from lenet.data.idx import read_images, read_labels
from lenet.data.split import split, stratified_order

IMAGE_SHAPE = (28, 28)
"""Rows and columns that the networks take; they pad them to their field of 32×32 themselves."""

WHITE = 255
LEVELS = 256

Array = NDArray[Any]


def prepare(data: DataConfig, raw: Path, prepared: Path) -> dict[str, Any]:
    """Check the four files in `raw`, write the arrays and the card to `prepared`, and return the card.

    The same files give the same bytes. The card is removed first and written last, so that whenever there is one, it
    fits the arrays.

    Raises:
        ConfigError: `data` has no origin, or its sizes are not possible.
        DamagedError: a file is missing or is not the one the origin names.
        DataError: a file is no IDX file, or the files do not fit each other, the classes, or 28×28.
    """
    if data.origin is None:
        raise ConfigError(f"data.origin is missing: preparing {data.name} needs the digests of its files")
    raw_digests = {}
    for file in origin_files(data.origin).values():
        check_digest(raw / file.name, file.sha256, f"run: lenet fetch {data.name}")
        raw_digests[file.name] = file.sha256
    arrays = _read_arrays(data, {role: raw / file.name for role, file in origin_files(data.origin).items()})
    train, validation = split(arrays["train/order.npy"], data.train_size, data.validation_size)
    with locked(prepared.parent / f".{data.name}.lock"):
        remove_half_written(prepared)
        # Removed before any array changes: a crash from here on leaves no card rather than a wrong one.
        (prepared / CARD).unlink(missing_ok=True)
        digests = {name: _write_array(prepared / name, arrays[name]) for name in ARRAYS}
        card = {
            "format": FORMAT,
            "name": data.name,
            "classes": data.classes,
            "image_shape": list(IMAGE_SHAPE),
            "split": {"train_size": data.train_size, "validation_size": data.validation_size},
            "counts": _counts(arrays, {"train": train, "validation": validation}, data.classes),
            **_moments(arrays["train/images.npy"][train]),
            "arrays": digests,
            "training_digest": _joint_digest(digests, TRAIN_ARRAYS),
            "test_digest": _joint_digest(digests, TEST_ARRAYS),
            "raw": raw_digests,
        }
        write_json(prepared / CARD, card)
    return card


def _read_arrays(data: DataConfig, paths: Mapping[str, Path]) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for part in ("train", "test"):
        images_path, labels_path = paths[f"{part}_images"], paths[f"{part}_labels"]
        images, labels = read_images(images_path), read_labels(labels_path, data.classes)
        if images.shape[1:] != IMAGE_SHAPE:
            size = f"{images.shape[1]}×{images.shape[2]}"
            raise DataError(f"{images_path}: its images are {size}; LeNet-5 takes 28×28 here, resize them first")
        if len(images) != len(labels):
            raise DataError(
                f"{labels_path}: has {len(labels)} labels for the {len(images)} images of {images_path.name}"
            )
        arrays |= {f"{part}/images.npy": images, f"{part}/labels.npy": labels}
    arrays["train/order.npy"] = stratified_order(arrays["train/labels.npy"])
    return arrays


def _write_array(path: Path, array: Array) -> str:
    with atomic_write(path) as temporary:
        with temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
        return sha256_file(temporary)


def _counts(arrays: Mapping[str, Array], parts: Mapping[str, Array], classes: int) -> dict[str, Any]:
    labels = {part: arrays["train/labels.npy"][indices] for part, indices in parts.items()}
    labels["test"] = arrays["test/labels.npy"]
    return {
        part: {"images": len(values), "per_class": np.bincount(values, minlength=classes).tolist()}
        for part, values in labels.items()
    }


def _moments(images: NDArray[np.uint8]) -> dict[str, float]:
    """Return mean and deviation of the pixels as fractions of white."""
    # Whole numbers up to the last division: the same digits on every machine, in any order of summing.
    histogram = [int(count) for count in np.bincount(images.reshape(-1), minlength=LEVELS)]
    pixels = sum(histogram)
    first = sum(level * count for level, count in enumerate(histogram))
    second = sum(level * level * count for level, count in enumerate(histogram))
    variance = (pixels * second - first * first) / (pixels * pixels)
    return {"mean": first / pixels / WHITE, "deviation": math.sqrt(variance) / WHITE}


def _joint_digest(digests: Mapping[str, str], names: tuple[str, ...]) -> str:
    return sha256_bytes(canonical_json({name: digests[name] for name in names}).encode())
