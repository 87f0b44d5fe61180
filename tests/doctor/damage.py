"""What happens to a house in the course of the years."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lenet.doctor.finding import Finding, Level

NEVER_A_PROCESS = 2**22 + 1
"""Larger than any process id of Linux."""


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, whatever its mode."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(bytes(content))


def change(database: Path, statement: str, *values: object) -> None:
    """Change an SQLite file behind everyone's back."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement, values)


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]
