"""`lenet ui`: the MLflow UI on the project's store, on this machine only."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lenet.config.compose import compose
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.core.urls import TRACKING_VARIABLE, with_password
from lenet.tracking.relocation import ARTIFACTS
from lenet.tracking.store import experiment_id, experiment_name, open_store, tracking_uri
from lenet.tracking.store_errors import HTTP, database_path
from lenet.tracking.sync import synchronize
from lenet.tracking.ui_app import APP_NAME
from lenet.tracking.ui_links import UI_HOST, charts_link

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

APP_GROUP = "mlflow.app"
"""Entry points among which MLflow's server looks for apps."""

WORKERS = 1
"""Server processes of some 250 MB each; there is one user."""


def serve(project: Project, port: int, repair_registry: Callable[[], object]) -> None:
    """Bring the store up to date and become an MLflow server on it, on 127.0.0.1 only. Does not return.

    What cannot be shown is logged, and the rest is shown.

    Args:
        project: whose store.
        port: of 127.0.0.1.
        repair_registry: completes the model registry; a LenetError of it is logged.

    Raises:
        LenetError: the store is a server already, the port is taken, or the environment is older than the code.
    """
    uri = tracking_uri(project)
    if urlsplit(uri).scheme in HTTP:
        raise LenetError(f"MLflow runs already at {uri}; open it there")
    _check_port(port)
    _check_app()
    synchronize(project)
    try:
        repair_registry()
    except LenetError as error:
        logger.warning(error)  # another store's registry, or other weights than registered: the UI shows the rest
    client = open_store(project, uri)
    experiment = _newest_experiment(client) or experiment_id(client, uri, experiment_name(compose(project, [])))
    path = database_path(uri)
    artifacts = (path.parent if path else project.home) / ARTIFACTS
    print(f"MLflow: {charts_link(f'http://{UI_HOST}:{port}', experiment)} (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--default-artifact-root", artifacts.as_uri()]
    command += ["--app-name", APP_NAME, "--host", UI_HOST, "--port", str(port), "--workers", str(WORKERS)]
    command += ["--allowed-hosts", f"{UI_HOST}:{port},localhost:{port}"]
    # In the environment, for other users see command lines; MLflow reads the first, ui_app the second.
    os.environ["MLFLOW_BACKEND_STORE_URI"] = os.environ[TRACKING_VARIABLE] = with_password(uri)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # spares eight processes
    os.execv(sys.executable, command)


def _newest_experiment(client: MlflowClient) -> str | None:
    """Return the id of the experiment that holds the newest run; None where there are no runs."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=1)
    return str(runs[0].info.experiment_id) if runs else None


def _check_app() -> None:
    if APP_NAME not in entry_points(group=APP_GROUP).names:
        raise LenetError("this environment was made for an older version of the project; run `make install`")


def _check_port(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((UI_HOST, port))
        except (OSError, OverflowError) as error:
            raise LenetError(f"port {port} of {UI_HOST}: {error}; choose another with `lenet ui --port N`") from error
