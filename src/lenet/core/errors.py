"""Errors that a user can act on, and the exit codes of commands."""

from __future__ import annotations

EXIT_FAILED = 1
"""Exit code of a command that failed."""

EXIT_USAGE = 2
"""Exit code of a command with wrong arguments or a wrong config; nothing was written."""


class LenetError(Exception):
    """An error that the user can act on: one line says what was wrong, where, and what to do."""

    exit_code = EXIT_FAILED


class ConfigError(LenetError):
    """A configuration names something unknown, of the wrong type, or out of its range."""

    exit_code = EXIT_USAGE


class DamagedError(LenetError):
    """A file's content is not what was written: a flipped bit, a truncation, a foreign file."""


class UnreadableError(DamagedError):
    """A file is there and cannot be read now (rights, disk, too many open files): nothing says that it is damaged."""


class DataError(LenetError):
    """A data set cannot be had, or is not what its card or its source says it is."""


class RunFailedError(LenetError):
    """A run ended without a result, and would again."""


class RunPruned(Exception):  # noqa: N818
    """A search ended a run early, for others did better by that epoch; its epochs are kept and it can go on."""


class Stopped(BaseException):
    """A signal ended the training; not an Exception, so that no handler swallows it.

    Attributes:
        signum: the signal's number; the process exits with 128 + signum, as shells expect.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum
