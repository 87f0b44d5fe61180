"""What else ruins a night: two at once, a flipped bit in the data, a server that goes away, half a database."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mishaps import ASK, EVERY_EPOCH_ONCE, PATIENCE_SECONDS, POLL_SECONDS, flip, query, wait_for_epoch, wait_until
from shell import Shell


@pytest.mark.long
def test_two_processes_asked_for_one_run_train_it_once(shell: Shell) -> None:
    first, second = shell.start(ASK), shell.start(ASK)
    told = [first.communicate(timeout=PATIENCE_SECONDS * 2)[0], second.communicate(timeout=PATIENCE_SECONDS * 2)[0]]
    assert (first.returncode, second.returncode) == (0, 0), told
    assert sum("already trained" in text for text in told) == 1
    assert sum("waiting for process" in text for text in told) == 1
    assert len(query(shell.home, "select run_uuid from runs")) == 1


def test_flipped_bit_in_the_data_is_one_line(shell: Shell) -> None:
    path = shell.root / "data/prepared/mnist/train/images.npy"
    flip(path)
    try:
        done = shell.run(ASK, check=False)
    finally:
        flip(path)
    assert done.returncode == 1
    (error,) = (line for line in done.stderr.splitlines() if not line.endswith(": training"))
    assert error.startswith("error: ")
    assert "images.npy" in error
    assert "lenet prepare mnist" in error


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.long
def test_server_that_goes_away_in_the_middle_does_not_stop_the_run(shell: Shell, tmp_path: Path) -> None:
    port = free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    words += ["--artifacts-destination", str(tmp_path / "artifacts"), "--port", str(port), "--workers", "1"]
    away = Shell(shell.root, shell.home, {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"})
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}

    def serve() -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
        return server

    server = serve()
    try:
        process = away.start(ASK)
        wait_for_epoch(away, 1, process)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        told, _ = process.communicate(timeout=PATIENCE_SECONDS * 2)
        assert process.returncode == 0, told
        assert "trained" in told
        assert "lenet sync" in told
        server = serve()
        assert "1 brought up to date" in away.run("lenet sync").stderr
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    with closing(sqlite3.connect(tmp_path / "server.db")) as connection:
        assert connection.execute("select status from runs").fetchall() == [("FINISHED",)]
        points = connection.execute("select step, count(*) from metrics where key = 'val/error' group by step")
        assert points.fetchall() == EVERY_EPOCH_ONCE


@pytest.mark.long
def test_killed_while_the_database_is_made_it_is_made_again(shell: Shell, tmp_path: Path) -> None:
    own = replace(shell, environment={"XDG_CACHE_HOME": str(tmp_path)})  # where MLflow's migrations make an empty one
    process = own.start(ASK)
    wait_until(lambda: list(tmp_path.glob("lenet-lab/.mlflow-*.partial")), process)  # under its temporary name
    process.kill()
    process.wait()
    assert not (shell.home / "mlflow.db").exists()
    own.run(ASK)
    assert query(shell.home, "select status from runs") == [("FINISHED",)]
    assert not list(tmp_path.glob("lenet-lab/*.partial*"))
    assert query(shell.home, "select name from experiments order by name") == [("Default",), ("mnist",)]
