"""SQLite files, looked into by a connection that can only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lenet.doctor.finding import Finding, problem, warning

BUSY_SECONDS = 5.0
VERSION_OFFSET, WAL_VERSION = 18, 2
"""Where an SQLite file's header says how it is written to, and what it says there of a write-ahead log."""

FINE = "ok"


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that cannot write; SQLite may leave an empty log and its index beside the file all the same."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        yield connection


def check_database(path: Path, remedy: str) -> list[Finding]:
    """Have SQLite check a file's structure, and see that it has a write-ahead log; nothing said, nothing found."""
    wrong = _faults(path)
    if wrong:
        return [problem(f"{path}: SQLite finds it damaged ({wrong[0]})", remedy)]
    if not _has_log(path):
        return [
            warning(
                f"{path}: has no write-ahead log, so that readers and writers wait for each other",
                f"sqlite3 {path} 'pragma journal_mode=wal'",
            )
        ]
    return []


def _faults(path: Path) -> list[str]:
    try:
        with reading(path) as connection:
            said = [str(row[0]) for row in connection.execute("pragma integrity_check")]
    except sqlite3.OperationalError:
        raise  # busy, or not to be opened: that says nothing of what is in it
    except sqlite3.DatabaseError as error:
        said = [str(error)]
    return [line for text in said if text != FINE for line in text.splitlines() if line.strip()]


def _has_log(path: Path) -> bool:
    with path.open("rb") as stream:
        header = stream.read(VERSION_OFFSET + 1)
    return len(header) > VERSION_OFFSET and header[VERSION_OFFSET] == WAL_VERSION
