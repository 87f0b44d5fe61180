"""A PostgreSQL server of our own, where one is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """A server that is running, until it is stopped."""

    url: str
    start: Callable[[], None]
    stop: Callable[[], None]
    """At once, as when its machine goes down."""


@contextmanager
def postgresql() -> Iterator[Server | None]:
    """A server on a free port; None where PostgreSQL, its driver or somebody to run it as is missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    is_root = os.getuid() == 0  # it refuses to run as root
    account = next((one for one in pwd.getpwall() if one.pw_name == "postgres"), None)
    if not found or find_spec("psycopg") is None or (is_root and account is None):
        yield None
        return
    programs, port = found[-1].parent, free_port()
    folder = Path(tempfile.mkdtemp(prefix="lenet-pg-"))
    as_user: list[str] = []
    if is_root and account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]

    def run(*words: str) -> None:
        subprocess.run([*as_user, *words], check=True, capture_output=True, cwd=folder)

    data = str(folder / "data")
    run(str(programs / "initdb"), "-D", data, "-U", "lenet", "--auth=trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    control = (str(programs / "pg_ctl"), "-D", data, "-w")

    def start() -> None:
        run(*control, "-l", str(folder / "log"), "-o", options, "start")

    def stop() -> None:
        run(*control, "-m", "immediate", "stop")

    start()
    try:
        yield Server(f"postgresql://lenet@127.0.0.1:{port}/postgres", start, stop)
    finally:
        stop()
        shutil.rmtree(folder)
