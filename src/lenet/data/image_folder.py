"""A data set in a folder of PNG images by class: `train/<class>/*.png` and `test/<class>/*.png`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet.config.schema import DataConfig
from lenet.core.atomic_io import canonical_json, remove, sha256_bytes, sha256_file
from lenet.core.errors import DataError

PARTS = ("train", "test")
MODES = {1: {"1": "L", "L": "L"}, 3: {"RGB": "RGB", "P": "RGB"}}
"""By number of channels: the modes of images that are read, and what Pillow converts them to without loss."""


def image_files(folder: Path, classes: tuple[str, ...], part: str) -> list[tuple[int, Path]]:
    """Return (label, file) for the images of a part, in the order of the classes and of the files' names.

    Raises:
        DataError: a class has no folder or no image, or a folder is no class.
    """
    found = sorted(path.name for path in (folder / part).iterdir() if path.is_dir()) if (folder / part).is_dir() else []
    unknown, missing = sorted(set(found) - set(classes)), [name for name in classes if name not in found]
    if unknown or missing:
        wrong = f"{unknown[0]} is none of data.classes" if unknown else f"has no folder for class {missing[0]}"
        raise DataError(f"{folder / part}: {wrong}; it has one folder a class, each of its name")
    folders = [folder / part / name for name in classes]
    files = [(label, path) for label, images in enumerate(folders) for path in sorted(images.glob("*.png"))]
    empty = set(range(len(classes))) - {label for label, _ in files}
    if empty:
        raise DataError(f"{folders[min(empty)]}: has no image *.png")
    return files


def copy_images(source: Path, raw: Path, classes: tuple[str, ...]) -> None:
    """Copy the images to `raw`, which then holds them and nothing else; a crash leaves the old ones or the new.

    Raises:
        DataError: as `image_files` says, or a file cannot be read or written.
    """
    files = [path for part in PARTS for _, path in image_files(source, classes, part)]
    unfinished = raw.parent / f".{raw.name}.unfinished"
    try:
        remove(unfinished, raw.parent)
        for path in files:
            target = unfinished / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        remove(raw, raw.parent)
        unfinished.rename(raw)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; the images of {source} are not copied") from error


def folder_digest(folder: Path, classes: tuple[str, ...]) -> str:
    """Return a digest of names and contents of all images; raises as `image_files`."""
    files = [path for part in PARTS for _, path in image_files(folder, classes, part)]
    return sha256_bytes(canonical_json([[str(path.relative_to(folder)), sha256_file(path)] for path in files]).encode())


def read_part(folder: Path, data: DataConfig, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the images [n, channels, height, width] and labels [n] of a part.

    Raises:
        DataError: as `image_files` says, or an image cannot be read or has another shape than the config says.
    """
    files = image_files(folder, data.classes, part)
    images = np.empty((len(files), *data.image_shape), dtype=np.uint8)
    for number, (_, path) in enumerate(files):
        images[number] = _read(path, data)
    return images, np.array([label for label, _ in files], dtype=np.uint8)


def _read(path: Path, data: DataConfig) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    modes = MODES.get(data.channels, {})
    try:
        with Image.open(path) as image:
            if image.mode not in modes or image.size != (data.width, data.height):
                raise DataError(
                    f"{path}: is {image.height}×{image.width}, mode {image.mode}; data={data.name} has"
                    f" {data.height}×{data.width} and {data.channels} channel(s), which are images of mode"
                    f" {' or '.join(modes) or 'none: PNG has 1 or 3'}"
                )
            pixels = np.asarray(image.convert(modes[image.mode]))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({type(error).__name__})") from error
    return pixels[np.newaxis] if data.channels == 1 else pixels.transpose(2, 0, 1)
