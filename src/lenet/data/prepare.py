"""From the original files to arrays that load at once, and a card that says what they are.

train/images.npy  uint8 [n, c, h, w]       test/images.npy  uint8 [m, c, h, w]
train/labels.npy  uint8 [n]                test/labels.npy  uint8 [m]
train/order.npy   int64 [n], see split.py  card.json        written last, sealed
"""

from __future__ import annotations

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
from lenet.data.arrays import ARRAYS, CARD, FORMAT, TEST_ARRAYS, TRAIN_ARRAYS, channel_statistics
from lenet.data.download.fetch import origin_files
from lenet.data.idx import read_images, read_labels
from lenet.data.image_folder import PARTS, folder_digest, read_part
from lenet.data.split import split, stratified_order

Array = NDArray[Any]


def prepare(data: DataConfig, raw: Path, prepared: Path) -> dict[str, Any]:
    """Check the original files in `raw`, write the arrays and the card to `prepared`, and return the card.

    The same files give the same bytes. The card is removed first and written last, so that whenever there is one, it
    fits the arrays.

    Raises:
        ConfigError: `data` has no origin, or its sizes are not possible.
        DamagedError: a file is missing or is not the one the origin names.
        DataError: a file is no IDX file or no image, or the files do not fit each other, the classes, or the shape.
    """
    if data.image_folder is not None:
        arrays, raw_digests = _read_image_folder(data, raw), {"images": folder_digest(raw, data.classes)}
    elif data.origin is not None:
        files = origin_files(data.origin)
        for file in files.values():
            check_digest(raw / file.name, file.sha256, f"run: lenet fetch {data.name}")
        raw_digests = {file.name: file.sha256 for file in files.values()}
        arrays = _read_arrays(data, {role: raw / file.name for role, file in files.items()})
    else:
        raise ConfigError(f"data.origin is missing: preparing {data.name} needs the digests of its files")
    arrays["train/order.npy"] = stratified_order(arrays["train/labels.npy"])
    train, validation = split(arrays["train/order.npy"], data.train_size, data.validation_size)
    mean, deviation = channel_statistics(arrays["train/images.npy"][train])
    with locked(prepared.parent / f".{data.name}.lock"):
        remove_half_written(prepared)
        # Removed before any array changes: a crash from here on leaves no card rather than a wrong one.
        (prepared / CARD).unlink(missing_ok=True)
        digests = {name: _write_array(prepared / name, arrays[name]) for name in ARRAYS}
        card = {
            "format": FORMAT,
            "name": data.name,
            "classes": list(data.classes),
            "image_shape": list(data.image_shape),
            "split": {"train_size": data.train_size, "validation_size": data.validation_size},
            "counts": _counts(arrays, {"train": train, "validation": validation}, len(data.classes)),
            "mean": mean,
            "deviation": deviation,
            "arrays": digests,
            "training_digest": _joint_digest(digests, TRAIN_ARRAYS),
            "test_digest": _joint_digest(digests, TEST_ARRAYS),
            "raw": raw_digests,
        }
        write_json(prepared / CARD, card)
    return card


def _read_arrays(data: DataConfig, paths: Mapping[str, Path]) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for part in PARTS:
        images_path, labels_path = paths[f"{part}_images"], paths[f"{part}_labels"]
        images, labels = read_images(images_path), read_labels(labels_path, len(data.classes))
        if images.shape[1:] != data.image_shape:
            raise DataError(
                f"{images_path}: its images have {_shape(images.shape[1:])}, and data={data.name} says"
                f" {_shape(data.image_shape)}; set data.channels, data.height and data.width"
            )
        if len(images) != len(labels):
            raise DataError(
                f"{labels_path}: has {len(labels)} labels for the {len(images)} images of {images_path.name}"
            )
        arrays |= {f"{part}/images.npy": images, f"{part}/labels.npy": labels}
    return arrays


def _read_image_folder(data: DataConfig, raw: Path) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for part in PARTS:
        arrays[f"{part}/images.npy"], arrays[f"{part}/labels.npy"] = read_part(raw, data, part)
    return arrays


def _shape(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{channels} channel{'s' if channels > 1 else ''} of {height}×{width}"


def _write_array(path: Path, array: Array) -> str:
    with atomic_write(path) as temporary:
        with temporary.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
        return sha256_file(temporary)


def _counts(arrays: Mapping[str, Array], parts: Mapping[str, Array], classes: int) -> dict[str, Any]:
    labels = {part: arrays["train/labels.npy"][indices] for part, indices in parts.items()}
    labels["test"] = arrays["test/labels.npy"]
    return {
        part: {"images": len(values), "per_class": np.bincount(values, minlength=classes).tolist()}
        for part, values in labels.items()
    }


def _joint_digest(digests: Mapping[str, str], names: tuple[str, ...]) -> str:
    return sha256_bytes(canonical_json({name: digests[name] for name in names}).encode())
