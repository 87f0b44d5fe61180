"""The one log handler of a command: messages go to standard error, one line each, and never show a password.

Every module logs with `logger = logging.getLogger(__name__)`: `logger.info` is what a user wants to know of the
progress, `logger.warning` what they should look at. What a command was asked to print goes to standard output.
"""

from __future__ import annotations

import logging
import sys

from lenet.core.urls import without_password

ROOT_LOGGER = "lenet"


def configure_logging(level: int = logging.INFO) -> None:
    """Show this process's log messages of `level` and above on standard error; those of libraries stay as they are."""
    root = logging.getLogger(ROOT_LOGGER)
    root.setLevel(level)
    root.propagate = False  # MLflow's migrations give Python's root logger a handler, which would show lines twice
    if not any(isinstance(handler, _StderrHandler) for handler in root.handlers):
        root.addHandler(_StderrHandler())


class _StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at the time: rich replaces it while it draws a table or a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        mark = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        print(without_password(mark + self.format(record)), file=sys.stderr, flush=True)
