"""Servers on this machine that answer as MLflow does not, and one that is MLflow's and asks who one is."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ACCOUNT = ("me", "s3cret-of-the-store")


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """Give the address of a server that has one answer for everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  (its base class names it so)

        def log_message(self, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def mlflow_with_account(folder: Path) -> Iterator[str]:
    """Give the address, without account, of MLflow's own server in this process; it knows `ACCOUNT` alone."""
    import mlflow.server
    from mlflow.server import handlers
    from werkzeug.serving import make_server

    expected = "Basic " + base64.b64encode(":".join(ACCOUNT).encode()).decode()

    def exit_on_error(environ: dict[str, Any], start: Any) -> Any:
        if environ.get("HTTP_AUTHORIZATION") != expected:
            start("401 Unauthorized", [("Content-Type", "text/plain")])
            return [b"who are you?"]
        return mlflow.server.app(environ, start)

    handlers.initialize_backend_stores(f"sqlite:///{folder}/server.db", None, f"{folder}/artifacts")
    server = make_server("127.0.0.1", 0, exit_on_error, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
