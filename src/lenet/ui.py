"""`lenet ui`: the MLflow UI on the project's store, for this machine alone."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

from lenet.errors import LenetError
from lenet.project import Project
from lenet.promotion.registration import heal_registry
from lenet.synchronize import synchronize
from lenet.tracking.links import UI_HOST
from lenet.tracking.relocation import ARTIFACTS
from lenet.tracking.store import database_path, open_store, tracking_uri

WORKERS = 1
"""Server processes; each takes some 250 MB, and one person looks."""


def serve(project: Project, port: int, tell: Callable[[str], None]) -> None:
    """Bring the store up to date and become an MLflow server on it, on 127.0.0.1 only. Does not return.

    Raises:
        LenetError: the store is a server already, or the port is taken.
    """
    uri = tracking_uri(project)
    if urlsplit(uri).scheme in {"http", "https"}:
        raise LenetError(f"MLflow runs already at {uri}; open it there")
    _check_port(port)
    synchronize(project, tell)
    heal_registry(project, tell)
    open_store(project, uri)
    path = database_path(uri)
    artifacts = (path.parent if path else project.home) / ARTIFACTS
    tell(f"MLflow: http://{UI_HOST}:{port}/#/experiments?workflowType=machine_learning (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--default-artifact-root", artifacts.as_uri(), "--host", UI_HOST, "--port", str(port)]
    command += ["--workers", str(WORKERS), "--allowed-hosts", f"{UI_HOST}:{port},localhost:{port}"]
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # spares eight processes
    os.execv(sys.executable, command)


def _check_port(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((UI_HOST, port))
        except (OSError, OverflowError) as error:
            raise LenetError(f"port {port} of {UI_HOST}: {error}; choose another with `lenet ui --port N`") from error
