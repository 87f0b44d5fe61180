"""Serve optuna-dashboard on a search's study, beside the search (extra: dashboard)."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from lenet.core.errors import ConfigError, Stopped
from lenet.core.urls import with_password

logger = logging.getLogger(__name__)

HOST, PORT = "127.0.0.1", 8080


def check_dashboard() -> None:
    """Check that the dashboard is installed.

    Raises:
        ConfigError: it is not.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise ConfigError(
            "--dashboard: optuna-dashboard is not installed; pip install -c constraints.txt -e '.[dashboard]'"
        )


@contextmanager
def dashboard(url: str) -> Iterator[None]:
    """Serve the dashboard of a database of studies within the block, and until Ctrl-C after it.

    It has its usual port, or another free one where that is in use.

    Args:
        url: the database, without a password.
    """
    from optuna_dashboard import wsgi

    app = wsgi(with_password(url))
    try:
        server = make_server(HOST, PORT, app, _Server, _QuietHandler)
    except OSError:
        server = make_server(HOST, 0, app, _Server, _QuietHandler)
    threading.Thread(target=server.serve_forever, name="dashboard", daemon=True).start()
    logger.info(f"dashboard: http://{HOST}:{server.server_port}/")
    try:
        yield
        logger.info("the search is over; the dashboard runs until Ctrl-C")
        try:
            threading.Event().wait()
        except (Stopped, KeyboardInterrupt):
            return
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        """Log no requests."""
