"""Stream bytes from a source to a file: in blocks, with a limit, unpacked, renamed once their sha256 is right."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from lenet.config.data_sources import FileConfig
from lenet.core.atomic_io import atomic_write
from lenet.core.errors import DataError

BLOCK_BYTES = 1 << 16
FILE_BYTES_LIMIT = 1 << 30
"""Most bytes of one file, packed or unpacked; the largest of the IDX sets (EMNIST by class) has 547 MB."""

GZIP_WINDOW = 31
"""zlib's number for: a gzip header, and the largest window."""

Reader = Callable[[str, FileConfig], Iterator[bytes]]
"""Gives one file's uncompressed content; called with the file's role (`train_images`, …) and the file."""


class SourceError(DataError):
    """A source does not give a file; another may."""


class SourceUnavailableError(SourceError):
    """A source gives nothing at all: asking it for the other files is a waste of time."""


def stream_blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Give a stream's content in blocks.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        while block := stream.read(BLOCK_BYTES):
            yield block
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"cannot be read ({error})") from error


def unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack gzip, giving at most BLOCK_BYTES at a time however far a block expands.

    Raises:
        SourceError: the blocks are not gzip, or end early.
    """
    member = zlib.decompressobj(GZIP_WINDOW)
    for packed in blocks:
        pending = packed
        while pending:
            if member.eof:
                member = zlib.decompressobj(GZIP_WINDOW)
            try:
                block = member.decompress(pending, BLOCK_BYTES)
            except zlib.error as error:
                raise SourceError(f"is not gzip ({error})") from error
            pending = member.unused_data if member.eof else member.unconsumed_tail
            if block:
                yield block
    # What zlib still holds back comes out without input; a complete member holds nothing.
    while not member.eof:
        block = member.decompress(b"", BLOCK_BYTES)
        if not block:
            raise SourceError("ends within its gzip")
        yield block


def write_checked(blocks: Iterable[bytes], file: FileConfig, folder: Path) -> None:
    """Write the blocks to `folder/file.name`, which has the name only once its sha256 is right.

    Raises:
        SourceError: the content is too long or another one, or its source failed on the way.
        DataError: the file cannot be written.
    """
    digest, size = hashlib.sha256(), 0
    target = folder / file.name
    try:
        with atomic_write(target) as temporary:
            with temporary.open("wb") as stream:
                for block in blocks:
                    size += len(block)
                    if size > FILE_BYTES_LIMIT:
                        raise SourceError(f"{file.name} is more than {FILE_BYTES_LIMIT} bytes")
                    digest.update(block)
                    stream.write(block)
            if digest.hexdigest() != file.sha256:
                found = f"{size} bytes with sha256 {digest.hexdigest()[:12]}…"
                raise SourceError(f"{file.name} is another file ({found}, not {file.sha256[:12]}…)")
    except OSError as error:
        raise DataError(
            f"{target}: cannot be written ({error.strerror}); make room or change the permissions"
        ) from error
