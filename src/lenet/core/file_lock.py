"""Locks between processes, which the kernel releases when their holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def _note_holder(stream: IO[str]) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(f"{os.getpid()}\n")
    stream.flush()


@contextmanager
def locked(path: Path, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold `path` exclusively (flock) for the length of the block, waiting for another holder.

    Args:
        path: the lock's file; it is created, and stays.
        on_wait: called once, with the holder's process id as text, when the lock is not free at once.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is not None:
                    stream.seek(0)
                    on_wait(stream.read().strip() or "unknown")
                    on_wait = None
                fcntl.flock(stream, fcntl.LOCK_EX)
            if not _is_at(stream, path):  # its folder was deleted meanwhile: another process would create a new one
                continue
            _note_holder(stream)
            yield
            return


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold `path`, which exists, for the length of the block unless another process does; give whether it is held."""
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        _note_holder(stream)
        yield True


def _is_at(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_held(path: Path) -> bool:
    """Say whether some process holds the lock at `path` now."""
    try:
        stream = path.open("r")
    except FileNotFoundError:
        return False
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
