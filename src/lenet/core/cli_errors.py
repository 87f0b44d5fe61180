"""Turn errors and signals into one line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TypeVar

from lenet.core.errors import EXIT_FAILED, ConfigError, LenetError, Stopped
from lenet.core.urls import without_password

SIGNAL_BASE = 128
"""What shells add to a signal's number to make an exit code."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

TRACEBACK_VARIABLE = "LENET_TRACEBACK"
"""Set to 1 to see where an error came from."""

CommandResult = TypeVar("CommandResult")


def survive_any_terminal() -> None:
    """Print characters that a terminal cannot show as escapes, which would otherwise end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_words(words: Sequence[str]) -> None:
    """Check that the arguments are text.

    Raises:
        ConfigError: a word's bytes are not of the terminal's encoding: no file could keep it, no store take it.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{word}: holds bytes that are not text; type it in UTF-8") from None


def exit_on_error(action: Callable[[], CommandResult]) -> CommandResult:
    """Run a command and return its result; errors that a user can act on become one line and SystemExit.

    Raises:
        SystemExit: the command ended early; 128 + signal number after a signal, otherwise the error's own code.
    """
    try:
        return action()
    except (LenetError, OSError) as error:
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        if isinstance(error, BrokenPipeError):  # the reader of our output has seen enough
            _end_of_output()
            sys.exit(SIGNAL_BASE + signal.SIGPIPE)
        print(f"error: {without_password(_line(error))}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, LenetError) else EXIT_FAILED)
    except Stopped as stop:
        print("stopped; the same command goes on from the last epoch", file=sys.stderr)
        sys.exit(SIGNAL_BASE + stop.signum)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(SIGNAL_BASE + signal.SIGINT)


def hide_passwords() -> None:
    """Have tracebacks of this process show URLs without their passwords, which errors of libraries repeat."""

    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        print(without_password("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)

    sys.excepthook = show
    threading.excepthook = lambda thrown: show(thrown.exc_type, thrown.exc_value, thrown.exc_traceback)


def _line(error: LenetError | OSError) -> str:
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return (
            f"{error.filename or 'disk'}: {error.strerror}; make room (`lenet clean` says which runs can go), the same"
            " command goes on"
        )
    return str(error)


def _end_of_output() -> None:
    # Python flushes standard output once more at exit, and would complain again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
