"""The IDX format of MNIST's files: a magic number, big-endian sizes, then unsigned bytes row by row.

offset 0   0x00000803 or 0x00000804 for images, 0x00000801 for labels (0x08: unsigned bytes; then the dimensions)
offset 4   one 32-bit size a dimension
then       the bytes, exactly as many as the sizes say
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet.core.errors import DataError

UNSIGNED_BYTES = 0x08
IMAGE_DIMENSIONS = (3, 4)
LABEL_DIMENSIONS = 1
WORD_BYTES = 4
ITEM_BYTES_LIMIT = 1 << 30
"""Most bytes that a file's sizes may declare; larger ones are nonsense, not data."""


def read_images(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of images, [n, height, width] or [n, height, width, channels], as [n, channels, height, width].

    Raises:
        DataError: the file is missing or is not such a file; the message names the byte offset.
    """
    images = _read(path, *IMAGE_DIMENSIONS)
    return images[:, np.newaxis] if images.ndim == IMAGE_DIMENSIONS[0] else images.transpose(0, 3, 1, 2)


def read_labels(path: Path, classes: int) -> NDArray[np.uint8]:
    """Read an IDX file of labels [n], each from 0 to classes - 1.

    Raises:
        DataError: the file is missing, is not such a file, or holds another label; the message names the byte offset.
    """
    labels = _read(path, LABEL_DIMENSIONS)
    wrong = np.flatnonzero(labels >= classes)
    if wrong.size:
        offset = _header_bytes(LABEL_DIMENSIONS) + int(wrong[0])
        raise DataError(f"{path}: offset {offset}: label {labels[wrong[0]]} is not one of 0 to {classes - 1}")
    return labels


def to_idx(array: NDArray[np.uint8]) -> bytes:
    """Return the IDX file of unsigned bytes of any shape.

    Raises:
        TypeError: `array` does not hold unsigned bytes.
    """
    if array.dtype != np.uint8:
        raise TypeError(f"IDX files here hold uint8, not {array.dtype}")
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, UNSIGNED_BYTES, array.ndim, *array.shape)
    return header + array.tobytes()


def _header_bytes(dimensions: int) -> int:
    return WORD_BYTES * (1 + dimensions)


def _read(path: Path, *dimensions: int) -> NDArray[np.uint8]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); fetch it again") from error
    shape = _read_header(path, content, dimensions)
    start = _header_bytes(len(shape))
    # Python's integers do not overflow, so sizes that lie cannot wrap around to a plausible product.
    expected = start + math.prod(shape)
    if len(content) != expected:
        offset = min(len(content), expected)
        raise DataError(
            f"{path}: offset {offset}: is {len(content)} bytes long, its sizes {_times(shape)} say {expected}; "
            "fetch it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _read_header(path: Path, content: bytes, allowed: tuple[int, ...]) -> tuple[int, ...]:
    magic = [bytes((0, 0, UNSIGNED_BYTES, dimensions)) for dimensions in allowed]
    if content[:WORD_BYTES] not in magic:
        found = content[:WORD_BYTES].hex() or "nothing"
        known = " or ".join(number.hex() for number in magic)
        raise DataError(f"{path}: offset 0: magic number is {found}, must be {known}; it is another kind of file")
    dimensions = content[WORD_BYTES - 1]
    start = _header_bytes(dimensions)
    if len(content) < start:
        raise DataError(f"{path}: offset {len(content)}: ends within its header of {start} bytes; fetch it again")
    shape: tuple[int, ...] = struct.unpack_from(f">{dimensions}I", content, WORD_BYTES)
    for axis, size in enumerate(shape):
        if size == 0:
            raise DataError(f"{path}: offset {WORD_BYTES * (1 + axis)}: size {_times(shape)} holds nothing")
    if math.prod(shape) > ITEM_BYTES_LIMIT:
        raise DataError(f"{path}: offset {WORD_BYTES}: sizes {_times(shape)} are more than {ITEM_BYTES_LIMIT} bytes")
    return shape


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)
