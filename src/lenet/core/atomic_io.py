"""Atomic writes, sealed JSON files, and deletion that stays inside a folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lenet.core.errors import DamagedError, LenetError, UnreadableError
from lenet.core.file_lock import is_held

CHUNK_BYTES = 1 << 20
TEMPORARY_SUFFIX = ".partial"
SEAL = "sha256"
NAME_BYTES = 8
"""Random bytes in a temporary file's name: process ids are not unique where containers share a folder."""

Shape = Any
"""The type of a value read from a file: a type, a tuple of shapes that are allowed, a list of one shape, or a
dict of keys and their shapes. Keys that are not named may have any value; `{str: shape}` is of any keys."""


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
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and takes the name, on failure it is removed.

    The temporary file is there already, empty and locked (flock): one that nobody holds was left by a
    writer that is gone, in whatever container it ran.
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
        folder: it need not exist.
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


def refuse_links(path: Path, root: Path) -> None:
    """See that a path lies within a folder, and that no symbolic link leads out of it on the way.

    Args:
        path: a file or folder, whether it is there or not.
        root: the folder, which may be reached by a link itself.

    Raises:
        LenetError: it lies elsewhere, or some part of it below `root`, the last one included, is a link.
    """
    if not path.is_relative_to(root) or path == root or ".." in path.relative_to(root).parts:
        raise LenetError(f"{path}: does not lie within {root}; nothing is deleted there")
    for part in (path, *path.parents):
        if part == root:
            return
        if part.is_symlink():
            raise LenetError(
                f"{part}: is a symbolic link, and nothing is deleted through one; replace the link by what it points to"
            )


def remove(path: Path, root: Path) -> None:
    """Remove a file, or a folder with all that lies in it, where it is there; raises as `refuse_links` does."""
    refuse_links(path, root)
    if path.is_dir():
        shutil.rmtree(path)  # noqa: TID251  # this is where it is done safely
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file so that a crash leaves the old content or the new."""
    with atomic_write(path) as temporary:
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


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is more than a number can be")
    return number


def read_json(path: Path, shape: Shape = dict, owner: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read what `write_json` wrote, without its seal.

    Args:
        path: the file.
        shape: the type of its content.
        owner: keys and values that identify the owner of the file.

    Raises:
        DamagedError: the file is not a JSON object, its seal or its shape does not fit, or it is another's.
        UnreadableError: it cannot be read now.
        FileNotFoundError: there is no such file.
    """
    again = "restore it or delete it to make it anew"
    try:
        body = json.loads(path.read_bytes().decode(), parse_constant=_refuse_constant, parse_float=_finite)
        seal = body.pop(SEAL, None) if isinstance(body, dict) else None
        fits = seal == sha256_bytes(canonical_json(body).encode())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError as error:
        raise DamagedError(f"{path}: is a folder; {again}") from error
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror}); see to its rights and the disk") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, too deep, or a number that JSON has not
        raise DamagedError(f"{path}: not readable as JSON ({error}); {again}") from error
    if seal is None:
        raise DamagedError(f"{path}: has no seal ({SEAL}); it was not written by lenet, delete it to make it anew")
    if not fits:
        raise DamagedError(f"{path}: its content does not fit its seal ({SEAL}); {again}")
    for key, value in (owner or {}).items():
        if body.get(key) != value:
            raise DamagedError(f"{path}: is another's (its {key} is {body.get(key)}, not {value}); {again}")
    wrong = _misfit(body, shape, "")
    if wrong is not None:
        raise DamagedError(f"{path}: is not what lenet writes there ({wrong}); {again}")
    return dict(body)


def _misfit(value: Any, shape: Shape, where: str) -> str | None:
    """Say what of a value does not have a shape, or return None."""
    if isinstance(shape, tuple):
        each = [_misfit(value, one, where) for one in shape]
        return None if None in each else each[0]
    if isinstance(shape, type):
        return None if _is(value, shape) else f"{where.lstrip('.') or 'it'} is no {shape.__name__}"
    if not isinstance(value, type(shape)):
        return f"{where.lstrip('.') or 'it'} is no {type(shape).__name__}"
    if isinstance(shape, list):
        inner = [(f"{where}[{number}]", one, shape[0]) for number, one in enumerate(value)]
    else:
        keys = value if str in shape else shape
        inner = [(f"{where}.{key}", value.get(key, ...), shape.get(key, shape.get(str))) for key in keys]
    return next((wrong for name, one, own in inner if (wrong := _misfit(one, own, name)) is not None), None)


def _is(value: Any, kind: type) -> bool:
    """Say whether a value is of a kind; a whole number is a float too, and true is no number."""
    if isinstance(value, bool):
        return kind in (bool, object)
    return isinstance(value, (int, float) if kind is float else kind)


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
