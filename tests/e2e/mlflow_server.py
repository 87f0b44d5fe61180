"""A real `mlflow server` that asks who one is, on PostgreSQL where that is installed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from postgresql import free_port, postgresql
from shell import Shell

ADMIN = ("admin", "an-admins-password")
WRITER = ("ci", "the-writers-password")
READER = ("reader", "the-readers-password")
START_SECONDS = 120
AUTH = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{folder}/auth.db
admin_username = {name}
admin_password = {password}
auth_cache_ttl_seconds = 60
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@dataclass(frozen=True)
class Server:
    """A server that knows an administrator, CI's account and a reader."""

    uri: str

    def ask(self, method: str, path: str, account: tuple[str, str] = ADMIN, **content: Any) -> Any:
        form = {"params": content} if method == "GET" else {"json": content}
        answer = requests.request(method, f"{self.uri}/api/{path}", auth=account, timeout=30, **form)
        assert answer.ok, answer.text
        return answer.json()

    def let_read(self, experiment: str, model: str) -> None:
        """Give the reader what docs/ci.md tells an administrator to give."""
        found = self.ask("GET", "2.0/mlflow/experiments/get-by-name", experiment_name=experiment)
        number = found["experiment"]["experiment_id"]
        for kind, name in (("experiment", number), ("registered_model", model)):
            grant = {"username": READER[0], "resource_type": kind, "resource_id": name, "permission": "READ"}
            self.ask("POST", "3.0/mlflow/users/permissions/grant", **grant)

    def registry(self, model: str) -> dict[str, str]:
        """Each alias with its version."""
        found = self.ask("GET", "2.0/mlflow/registered-models/get", name=model)["registered_model"]
        return {one["alias"]: one["version"] for one in found.get("aliases", [])}


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """Start the server, with what it keeps in `folder`."""
    port = free_port()
    (folder / "auth.ini").write_text(AUTH.format(folder=folder, name=ADMIN[0], password=ADMIN[1]))
    with postgresql() as database:
        store = database.url.replace("://", "+psycopg://", 1) if database else f"sqlite:///{folder}/server.db"
        words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
        words += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1", "--app-name", "basic-auth"]
        words += ["--allowed-hosts", f"127.0.0.1:{port}"]
        env = {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a test's own",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                words, cwd=folder, env=Shell(folder, folder).variables() | env, stdout=log, stderr=log
            )
        try:
            server = Server(f"http://127.0.0.1:{port}")
            _wait_for(server, process, folder / "log")
            for name, password in (WRITER, READER):
                server.ask("POST", "2.0/mlflow/users/create", username=name, password=password)
            yield server
        finally:
            process.terminate()
            process.wait()


def _wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if requests.get(f"{server.uri}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.3)
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
