"""Locks between processes that the kernel lets go of when their holder dies, however it dies."""

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
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is not None:
                stream.seek(0)
                on_wait(stream.read().strip() or "unknown")
            fcntl.flock(stream, fcntl.LOCK_EX)
        _note_holder(stream)
        yield


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
