from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from lenet.core.errors import DataError
from lenet.data.idx import read_images, read_labels, to_idx

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([0, 3, 1], dtype=np.uint8)


def test_images_come_back(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(to_idx(IMAGES))
    assert np.array_equal(read_images(tmp_path / "images"), IMAGES[:, None])


def test_labels_come_back(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(to_idx(LABELS))
    assert np.array_equal(read_labels(tmp_path / "labels", 4), LABELS)


def test_bytes_are_the_official_format() -> None:
    assert to_idx(LABELS) == bytes.fromhex("00000801 00000003 000301")
    assert to_idx(IMAGES)[:16] == bytes.fromhex("00000803 00000002 00000003 00000004")


def test_only_bytes_are_written() -> None:
    with pytest.raises(TypeError, match="uint8"):
        to_idx(LABELS.astype(np.int64))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "offset", "complaint"),
    [
        (b"", 0, "magic number is nothing"),
        (b"<!DOCTYPE html>" * 9, 0, "magic number is 3c21444f"),
        (to_idx(LABELS), 0, "magic number is 00000801"),
        (b"\0\0\x0d\x03" + to_idx(IMAGES)[4:], 0, "magic number is 00000d03"),
        (to_idx(IMAGES)[:9], 9, "ends within its header"),
        (to_idx(IMAGES)[:16], 16, "say 40"),
        (to_idx(IMAGES)[:-1], 39, "is 39 bytes long"),
        (to_idx(IMAGES) + b"\0", 40, "is 41 bytes long"),
        (struct.pack(">I3I", 0x803, 2, 0, 4), 8, "holds nothing"),
        (struct.pack(">I3I", 0x803, 0, 28, 28), 4, "holds nothing"),
        # The product is 2^96 - …: it must not wrap around to something small.
        (struct.pack(">I3I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1), 4, "are more than"),
        (struct.pack(">I3I", 0x803, 2**31, 2**31, 4), 4, "are more than"),
    ],
)
def test_broken_images_name_file_and_offset(tmp_path: Path, content: bytes, offset: int, complaint: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_images(path)
    assert str(caught.value).startswith(f"{path}: offset {offset}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_label_out_of_range_names_its_offset(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(to_idx(LABELS))
    with pytest.raises(DataError, match="offset 9: label 3 is not one of 0 to 2"):
        read_labels(tmp_path / "labels", 3)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: cannot be read \(No such file"):
        read_labels(tmp_path / "nowhere", 3)


def test_every_flipped_header_bit_is_noticed(tmp_path: Path) -> None:
    content = to_idx(IMAGES)
    for bit in range(16 * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "images").write_bytes(flipped)
        with pytest.raises(DataError, match="offset"):
            read_images(tmp_path / "images")


def test_colour_images_come_with_their_channels_first(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    (tmp_path / "images").write_bytes(to_idx(images))
    found = read_images(tmp_path / "images")
    assert found.shape == (2, 3, 3, 4)
    assert found[1, 2, 0, 3] == images[1, 0, 3, 2]
