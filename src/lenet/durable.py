"""Files that a crash leaves either as they were or as they should be, and that know when they were damaged."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lenet.errors import DamagedError
from lenet.locks import is_held

CHUNK_BYTES = 1 << 20
TEMPORARY_SUFFIX = ".partial"
SEAL = "sha256"
NAME_BYTES = 8
"""Random bytes in a temporary file's name: process ids are not unique where containers share a folder."""


def sha256_bytes(content: bytes) -> str:
    """Return the sha256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal, read a mebibyte at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(body: Any) -> str:
    """Return the one JSON text of `body`: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: `body` holds a number that JSON cannot write.
    """
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and takes the name, on failure it is removed.

    The temporary file is there already, empty and locked (flock): whoever finds one that nobody holds knows that its
    writer is gone, in whatever container that lived.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, descriptor = _new_temporary(path)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # numpy's word for a write that was cut short
            full = f"{os.strerror(errno.ENOSPC)} ({error})"
            raise OSError(errno.ENOSPC, full, str(path)) from error
        if error.errno is not None and error.filename is None:  # writing names no file, opening does
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _new_temporary(path: Path) -> tuple[Path, int]:
    while True:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(NAME_BYTES)}{TEMPORARY_SUFFIX}"
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # taken for a dead process's before it was locked


def half_written(folder: Path, is_deep: bool = True) -> list[Path]:
    """Return the temporary files in a folder whose writers are gone; those that are being written are left out.

    Args:
        folder: where to look; it need not be there.
        is_deep: also in the folders within it.
    """
    pattern = f".*{TEMPORARY_SUFFIX}*"  # SQLite puts files of its own beside a temporary database
    found = folder.rglob(pattern) if is_deep else folder.glob(pattern)
    return sorted(path for path in found if path.is_file() and not path.is_symlink() and not is_held(_written(path)))


def _written(path: Path) -> Path:
    return path.with_name(f"{path.name.partition(TEMPORARY_SUFFIX)[0]}{TEMPORARY_SUFFIX}")


def remove_half_written(folder: Path) -> None:
    """Remove the temporary files below a folder whose writers are gone."""
    for path in half_written(folder):
        try:
            with _written(path).open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except BlockingIOError:  # begun a moment ago
            continue
        except FileNotFoundError:  # it has got its name, or is what SQLite left beside one that is removed
            path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file so that a crash leaves the old content or the new."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 text file so that a crash leaves the old content or the new."""
    write_bytes(path, content.encode())


def write_json(path: Path, body: dict[str, Any]) -> None:
    """Write a JSON object sealed with the sha256 of its own canonical form (key `sha256`)."""
    seal = sha256_bytes(canonical_json(body).encode())
    write_text(path, json.dumps({**body, SEAL: seal}, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote, without its seal.

    Raises:
        DamagedError: the file is not JSON, not an object, or its seal does not fit.
        FileNotFoundError: there is no such file.
    """
    try:
        body = json.loads(path.read_bytes().decode(), parse_constant=_refuse_constant)
    except ValueError as error:  # not UTF-8, not JSON, or a number that JSON has not
        raise DamagedError(
            f"{path}: not readable as JSON ({error}); restore it or delete it to make it anew"
        ) from error
    seal = body.pop(SEAL, None) if isinstance(body, dict) else None
    if seal is None:
        raise DamagedError(f"{path}: has no seal ({SEAL}); it was not written by lenet, delete it to make it anew")
    if seal != sha256_bytes(canonical_json(body).encode()):
        raise DamagedError(
            f"{path}: its content does not fit its seal ({SEAL}); restore it or delete it to make it anew"
        )
    return dict(body)


def check_digest(path: Path, expected: str, remedy: str) -> None:
    """Compare a file with the sha256 that is on record.

    Raises:
        DamagedError: the file is missing or its content differs; the message ends with `remedy`.
    """
    if not path.is_file():
        raise DamagedError(f"{path}: is missing; {remedy}")
    found = sha256_file(path)
    if found != expected:
        raise DamagedError(f"{path}: sha256 is {found[:12]}…, on record is {expected[:12]}…; {remedy}")
