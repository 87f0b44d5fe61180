"""Serve optuna-dashboard on a search's study, beside the search (extra: dashboard)."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lenet.core.errors import ConfigError, LenetError, Stopped
from lenet.core.urls import STUDY_VARIABLE, with_password, without_password

logger = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 8080
SERVE = f"""
import os, sys
from optuna_dashboard import run_server
run_server(os.environ[{STUDY_VARIABLE!r}], sys.argv[1], int(sys.argv[2]))
"""
"""The dashboard's own command takes the URL as an argument, which other users of the machine can read."""

SHUTDOWN_TIMEOUT = 5.0


def check_dashboard() -> None:
    """Check that the dashboard is installed.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise ConfigError(
            "--dashboard: optuna-dashboard is not installed; pip install -c constraints.txt -e '.[dashboard]'"
        )


def free_port() -> int:
    """Return the dashboard's usual port, or another free one where that is in use."""
    for port in (PORT, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise LenetError(f"--dashboard: {HOST} has no free port")


@contextmanager
def dashboard(url: str) -> Iterator[None]:
    """Serve the dashboard of a database of studies within the block, and until Ctrl-C after it.

    Args:
        url: the database, without a password.
    """
    port = free_port()
    words = [sys.executable, "-c", SERVE, HOST, str(port)]
    environment = os.environ | {STUDY_VARIABLE: with_password(url)}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    logger.info(f"dashboard: http://{HOST}:{port}/")
    try:
        yield
        logger.info("the search is over; the dashboard runs until Ctrl-C")
        try:
            _, errors = process.communicate()
        except (Stopped, KeyboardInterrupt):
            return
        last = next((line for line in reversed(errors.splitlines()) if line.strip()), "no message")
        raise ConfigError(f"--dashboard: ended with code {process.returncode}: {without_password(last)}")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(SHUTDOWN_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
