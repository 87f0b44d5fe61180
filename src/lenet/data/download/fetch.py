"""Fetch a data set's four files from the first source that has each of them."""

from __future__ import annotations

import logging
import re
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

from lenet.config.data_sources import FileConfig, FolderConfig, MirrorConfig, OriginConfig, PipConfig
from lenet.core.atomic_io import remove_half_written, sha256_file
from lenet.core.errors import ConfigError, DataError
from lenet.core.file_lock import locked
from lenet.data.download.http import open_mirror
from lenet.data.download.local import open_folder
from lenet.data.download.pip_wheel import open_pip
from lenet.data.download.stream import Reader, SourceError, SourceUnavailableError, write_checked

Source = MirrorConfig | PipConfig | FolderConfig

logger = logging.getLogger(__name__)

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")
PIP_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*==[A-Za-z0-9_.+!-]+")

PRESENT = "already there"


def origin_files(origin: OriginConfig) -> dict[str, FileConfig]:
    """Return the four files by role: `train_images`, `train_labels`, `test_images`, `test_labels`."""
    return {
        "train_images": origin.train_images,
        "train_labels": origin.train_labels,
        "test_images": origin.test_images,
        "test_labels": origin.test_labels,
    }


def fetch(origin: OriginConfig, folder: Path, *, name: str, extra_folder: Path | None = None) -> dict[str, str]:
    """Bring the four files into `folder`, each under its name only once its sha256 is right.

    Args:
        origin: the files, and the sources that are tried in turn until every file is there.
        folder: where the files go, data/raw/<name>; files that are there and right are left alone.
        name: the data set's name, for the messages and the lock beside `folder`.
        extra_folder: a folder of the user's, tried before the origin's sources.

    Returns:
        For each file name, where it came from: a source's address or name, or "already there".

    Raises:
        ConfigError: the origin names an impossible file or source.
        DataError: no source gives what is missing, `extra_folder` is not there, or a file cannot be written.
    """
    _check_origin(origin)
    if extra_folder is not None and not extra_folder.is_dir():
        raise DataError(
            f"{extra_folder}: no such folder; name one that holds {', '.join(_names(origin))}, plain or .gz"
        )
    own: list[Source] = [] if extra_folder is None else [FolderConfig("folder", str(extra_folder))]
    lock = folder.parent / f".{name}.lock"
    with locked(lock, lambda holder: logger.info(f"{name}: waiting for process {holder}, which fetches it")):
        remove_half_written(folder)
        came_from = _check_present(origin, folder)
        for source in (*own, *origin.sources):
            wanted = {role: file for role, file in origin_files(origin).items() if file.name not in came_from}
            if wanted:
                came_from |= _bring(source, wanted, folder)
    missing = [file for file in _names(origin) if file not in came_from]
    if missing:
        raise DataError(
            f"{name}: no source gives {', '.join(missing)}; get them by hand and run: lenet fetch {name} --from FOLDER"
        )
    return came_from


def _names(origin: OriginConfig) -> list[str]:
    return [file.name for file in origin_files(origin).values()]


def _check_present(origin: OriginConfig, folder: Path) -> dict[str, str]:
    present = {}
    for file in origin_files(origin).values():
        path = folder / file.name
        if not path.is_file():
            continue
        if sha256_file(path) == file.sha256:
            present[file.name] = PRESENT
        else:
            logger.warning(f"{path}: is damaged or another file; fetching it again")
    return present


def _bring(source: Source, wanted: dict[str, FileConfig], folder: Path) -> dict[str, str]:
    title = _title(source)
    brought: dict[str, str] = {}
    failures: list[str] = []
    try:
        with _open(source) as read:
            for role, file in wanted.items():
                try:
                    write_checked(read(role, file), file, folder)
                except SourceUnavailableError:
                    raise
                except SourceError as error:
                    failures.append(str(error))
                else:
                    brought[file.name] = title
    except SourceUnavailableError as error:
        failures.append(str(error))
    if brought:
        logger.info(f"{title}: brought {', '.join(brought)}")
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        logger.info(f"{title}: {failures[0]}{more}")
    return brought


def _open(source: Source) -> AbstractContextManager[Reader]:
    match source:
        case MirrorConfig():
            return open_mirror(source)
        case PipConfig():
            return open_pip(source)
        case FolderConfig():
            return open_folder(source)


def _title(source: Source) -> str:
    match source:
        case MirrorConfig(url=url):
            return urlsplit(url).netloc
        case FolderConfig(path=path):
            return path
        case _:
            return f"{source.name} {source.package}"


def _check_origin(origin: OriginConfig) -> None:
    for role, file in origin_files(origin).items():
        if not FILE_NAME.fullmatch(file.name):
            raise ConfigError(f"data.origin.{role}.name={file.name}: must be a plain file name")
        if not SHA256.fullmatch(file.sha256):
            raise ConfigError(f"data.origin.{role}.sha256={file.sha256}: must be 64 hexadecimal digits, lower case")
    if len(set(_names(origin))) < len(_names(origin)):
        raise ConfigError(f"data.origin: two of the files have the same name ({', '.join(_names(origin))})")
    for index, source in enumerate(origin.sources):
        _check_source(source, f"data.origin.sources[{index}]")


def _check_source(source: Source, where: str) -> None:
    match source:
        case MirrorConfig(url=url):
            if urlsplit(url).scheme not in ("http", "https") or "{file}" not in url:
                raise ConfigError(f"{where}.url={url}: must begin with http:// or https:// and contain {{file}}")
        case PipConfig(package=package):
            if not PIP_PACKAGE.fullmatch(package):
                raise ConfigError(f"{where}.package={package}: must be package==version")
    if not isinstance(source, MirrorConfig | FolderConfig) and not SHA256.fullmatch(source.sha256):
        raise ConfigError(f"{where}.sha256={source.sha256}: must be 64 hexadecimal digits, lower case")
