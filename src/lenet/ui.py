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
from lenet.tracking.store import WEB, database_path, open_store, tracking_uri
from lenet.urls import with_password

WORKERS = 1
"""Server processes; each takes some 250 MB, and one person looks."""


def serve(project: Project, port: int, tell: Callable[[str], None]) -> None:
    """Bring the store up to date and become an MLflow server on it, on 127.0.0.1 only. Does not return.

    What cannot be shown is told, and the rest is shown.

    Raises:
        LenetError: the store is a server already, or the port is taken.
    """
    uri = tracking_uri(project)
    if urlsplit(uri).scheme in WEB:
        raise LenetError(f"MLflow runs already at {uri}; open it there")
    _check_port(port)
    synchronize(project, tell)
    try:
        heal_registry(project, tell)
    except LenetError as error:
        tell(str(error))  # another store's registry, or a network that is not what it was: the UI shows the rest
    open_store(project, uri)
    path = database_path(uri)
    artifacts = (path.parent if path else project.home) / ARTIFACTS
    tell(f"MLflow: http://{UI_HOST}:{port}/#/experiments?workflowType=machine_learning (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "server", "--default-artifact-root", artifacts.as_uri()]
    command += ["--host", UI_HOST, "--port", str(port), "--workers", str(WORKERS)]
    command += ["--allowed-hosts", f"{UI_HOST}:{port},localhost:{port}"]
    os.environ["MLFLOW_BACKEND_STORE_URI"] = with_password(uri)  # other users see what stands on a command line
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # spares eight processes
    os.execv(sys.executable, command)


def _check_port(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((UI_HOST, port))
        except (OSError, OverflowError) as error:
            raise LenetError(f"port {port} of {UI_HOST}: {error}; choose another with `lenet ui --port N`") from error
