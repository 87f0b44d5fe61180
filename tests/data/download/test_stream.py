from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lenet.config.data_sources import FileConfig
from lenet.core.atomic_io import sha256_bytes
from lenet.core.errors import DataError
from lenet.data.download import stream
from lenet.data.download.stream import SourceError, unpacked, write_checked

CONTENT = bytes(range(256)) * 1000


def in_blocks(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_gzip_is_unpacked_whatever_the_blocks(size: int) -> None:
    assert b"".join(unpacked(in_blocks(gzip.compress(CONTENT), size))) == CONTENT


def test_several_gzip_members_are_one_content() -> None:
    assert b"".join(unpacked([gzip.compress(CONTENT) + gzip.compress(b"more")])) == CONTENT + b"more"


def test_every_truncated_gzip_is_noticed() -> None:
    packed = gzip.compress(b"some labels" * 10)
    for length in range(len(packed)):
        with pytest.raises(SourceError, match="ends within its gzip"):
            list(unpacked([packed[:length]]))


def test_every_flipped_bit_of_a_gzip_is_noticed(tmp_path: Path) -> None:
    content = b"some labels" * 3
    packed, file = gzip.compress(content), FileConfig("labels", sha256_bytes(content))
    for bit in range(len(packed) * 8):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            write_checked(unpacked([bytes(flipped)]), file, tmp_path)
        except SourceError:
            assert list(tmp_path.iterdir()) == []
        else:  # the header's time and the like say nothing about the content
            assert (tmp_path / "labels").read_bytes() == content
            (tmp_path / "labels").unlink()


def test_a_bomb_is_unpacked_a_block_at_a_time() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert max(len(block) for block in unpacked([bomb])) <= stream.BLOCK_BYTES


def test_too_long_content_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FILE_BYTES_LIMIT", 1000)
    with pytest.raises(SourceError, match="labels is more than 1000 bytes"):
        write_checked([CONTENT], FileConfig("labels", sha256_bytes(CONTENT)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(b"old")

    def interrupted():  # type: ignore[no-untyped-def]
        yield CONTENT
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checked(interrupted(), FileConfig("labels", sha256_bytes(CONTENT)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]
    assert (tmp_path / "labels").read_bytes() == b"old"


def test_a_name_that_cannot_be_written_is_no_failure_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match="labels: cannot be written") as caught:
        write_checked([CONTENT], FileConfig("labels", sha256_bytes(CONTENT)), tmp_path)
    assert not isinstance(caught.value, SourceError)
