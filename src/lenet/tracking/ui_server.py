"""`lenet ui`: the MLflow UI on the project's store, for this machine alone."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from lenet.config.compose import compose
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.core.urls import TRACKING_VARIABLE, with_password
from lenet.pipeline.register import repair_registry
from lenet.tracking.relocation import ARTIFACTS
from lenet.tracking.store import WEB, database_path, experiment_id, experiment_name, open_store, tracking_uri
from lenet.tracking.sync import synchronize
from lenet.tracking.ui_app import APP_NAME
from lenet.tracking.ui_links import UI_HOST, charts_link

APP_GROUP = "mlflow.app"
"""Entry points among which MLflow's server looks for apps."""

WORKERS = 1
"""Server processes; each takes some 250 MB, and one person looks."""


def serve(project: Project, port: int, tell: Callable[[str], None]) -> None:
    """Bring the store up to date and become an MLflow server on it, on 127.0.0.1 only. Does not return.

    What cannot be shown is told, and the rest is shown.

    Raises:
        LenetError: the store is a server already, the port is taken, or the environment is older than the code.
    """
    uri = tracking_uri(project)
    if urlsplit(uri).scheme in WEB:
        raise LenetError(f"MLflow runs already at {uri}; open it there")
    _check_port(port)
    _check_app()
    synchronize(project, tell)
    try:
        repair_registry(project)
    except LenetError as error:
        tell(str(error))  # another store's registry, or a network that is not what it was: the UI shows the rest
    name = experiment_name(compose(project, []).tracking.experiment)
    experiment = experiment_id(open_store(project, uri), project, uri, name)
    path = database_path(uri)
    artifacts = (path.parent if path else project.home) / ARTIFACTS
    tell(f"MLflow: {charts_link(f'http://{UI_HOST}:{port}', experiment)} (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "server", "--default-artifact-root", artifacts.as_uri()]
    command += ["--app-name", APP_NAME, "--host", UI_HOST, "--port", str(port), "--workers", str(WORKERS)]
    command += ["--allowed-hosts", f"{UI_HOST}:{port},localhost:{port}"]
    # Other users see what stands on a command line; the app reads the second.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = os.environ[TRACKING_VARIABLE] = with_password(uri)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # spares eight processes
    os.execv(sys.executable, command)


def _check_app() -> None:
    if APP_NAME not in entry_points(group=APP_GROUP).names:
        raise LenetError("this environment was made for an older version of the project: `make install` brings it up")


def _check_port(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((UI_HOST, port))
        except (OSError, OverflowError) as error:
            raise LenetError(f"port {port} of {UI_HOST}: {error}; choose another with `lenet ui --port N`") from error
