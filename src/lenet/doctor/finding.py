"""What a check says: how bad it is, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

SHOWN = 3
"""Names that one line shows of many."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of a check.

    Attributes:
        level: `PROBLEM` where results are lost, wrong or cannot be made; `WARNING` where something is merely amiss.
        text: what was found.
        remedy: what to do about it, a command where there is one; nothing where all is well.
    """

    level: Level
    text: str
    remedy: str = ""


def ok(text: str) -> Finding:
    """Return a finding that needs nothing done."""
    return Finding(Level.OK, text)


def warning(text: str, remedy: str) -> Finding:
    """Return a finding that somebody should look after some time."""
    return Finding(Level.WARNING, text, remedy)


def problem(text: str, remedy: str) -> Finding:
    """Return a finding that makes the doctor's exit code 1."""
    return Finding(Level.PROBLEM, text, remedy)


def few(names: Iterable[str]) -> str:
    """Return names as text, of many the first ones and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def counted(count: int, thing: str, things: str = "") -> str:
    """Return `1 run` or `1,234 runs`."""
    return f"{count:,} {thing if count == 1 else things or f'{thing}s'}"
