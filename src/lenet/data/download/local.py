"""Files that are already on this machine: plain, or with `.gz`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lenet.config.data_sources import FileConfig, FolderConfig
from lenet.data.download.stream import Reader, SourceError, SourceUnavailableError, stream_blocks, unpacked


@contextmanager
def open_folder(source: FolderConfig) -> Iterator[Reader]:
    """Read the files of a folder.

    Raises:
        SourceUnavailableError: there is no such folder; the message ends with the source's hint.
        SourceError: (when read) a file is missing or unreadable.
    """
    folder = Path(source.path).expanduser()
    if not folder.is_dir():
        raise SourceUnavailableError(f"no such folder{f' ({source.hint})' if source.hint else ''}")

    def read(_role: str, file: FileConfig) -> Iterator[bytes]:
        plain, packed = folder / file.name, folder / f"{file.name}.gz"
        path = plain if plain.is_file() else packed
        if not path.is_file():
            raise SourceError(f"has neither {plain.name} nor {packed.name}")
        try:
            stream = path.open("rb")
        except OSError as error:
            raise SourceError(f"{path.name} cannot be opened ({error.strerror})") from error
        with stream:
            blocks = stream_blocks(stream)
            yield from unpacked(blocks) if path == packed else blocks

    yield read
