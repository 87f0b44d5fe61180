"""What a check finds: its level, a sentence, and a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

MAX_NAMED = 3
"""Names in one line; of more, their number is given."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of a check.

    Attributes:
        level: `PROBLEM` where results are lost, wrong or cannot be made; `WARNING` for lesser faults.
        text: what was found.
        remedy: what to do about it, a command where there is one; empty at level `OK`.
    """

    level: Level
    text: str
    remedy: str = ""


def ok(text: str) -> Finding:
    """Return a finding without a fault."""
    return Finding(Level.OK, text)


def warning(text: str, remedy: str) -> Finding:
    """Return a finding that leaves the exit code at 0."""
    return Finding(Level.WARNING, text, remedy)


def problem(text: str, remedy: str) -> Finding:
    """Return a finding that makes the exit code 1."""
    return Finding(Level.PROBLEM, text, remedy)


def join_names(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - MAX_NAMED} more" if len(listed) > MAX_NAMED else ""
    return ", ".join(listed[:MAX_NAMED]) + more


def count(number: int, noun: str, plural: str = "") -> str:
    """Return `1 run` or `1,234 runs`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
