"""optuna-dashboard on a search's study, beside the search; it is an extra of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lenet.core.errors import ConfigError, LenetError, Stopped
from lenet.core.urls import STUDY_VARIABLE, with_password, without_password

HOST, PORT = "127.0.0.1", 8080
SERVE = f"""
import os, sys
from optuna_dashboard import run_server
run_server(os.environ[{STUDY_VARIABLE!r}], sys.argv[1], int(sys.argv[2]))
"""
"""The dashboard's own command takes the database's URL as a word, which other users of the machine see."""

SHUTDOWN_TIMEOUT = 5.0


def check_dashboard() -> None:
    """Find out before anything is begun whether the dashboard is installed.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise ConfigError(
            "--dashboard: optuna-dashboard is not installed; pip install -c constraints.txt -e '.[dashboard]'"
        )


def free_port() -> int:
    """Return the dashboard's usual port, or, where somebody listens there, one that nobody uses."""
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
def dashboard(url: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Serve the dashboard of a database of studies within the block, and until Ctrl-C after it.

    Args:
        url: the database, without a password.
        tell: takes a line for the user.
    """
    port = free_port()
    words = [sys.executable, "-c", SERVE, HOST, str(port)]
    environment = os.environ | {STUDY_VARIABLE: with_password(url)}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    tell(f"dashboard: http://{HOST}:{port}/")
    try:
        yield
        tell("the search is over; the dashboard stays until Ctrl-C")
        try:
            _, said = process.communicate()
        except (Stopped, KeyboardInterrupt):
            return
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        raise ConfigError(f"--dashboard: it ended with code {process.returncode}: {without_password(last)}")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(SHUTDOWN_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
