"""What ruins a night: kill -9, signals, two at once, a flipped bit, a server that goes away."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from shell import Shell

ASK = "python train.py trainer.epochs=4 data.train_size=6000 trainer.checkpoint_seconds=0"
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 90


def wait_for_epoch(shell: Shell, epoch: int, process: subprocess.Popen[str]) -> None:
    """Wait until an epoch's checkpoint is on disk."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(shell.home.glob(f"runs/*/checkpoints/epoch-{epoch:05d}-*.ckpt")):
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


def weights(home: Path) -> bytes:
    (path,) = home.glob("runs/*/weights.safetensors")
    return path.read_bytes()


def query(home: Path, text: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        return connection.execute(text).fetchall()


@pytest.fixture(scope="module")
def undisturbed(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a run that nothing disturbed."""
    shell = Shell(project_root, tmp_path_factory.mktemp("undisturbed"))
    shell.run(ASK)
    return weights(shell.home)


def test_killed_in_every_way_it_goes_on_in_the_same_run_to_the_same_weights(shell: Shell, undisturbed: bytes) -> None:
    for epoch, signum, code in ((1, signal.SIGKILL, -9), (2, signal.SIGTERM, 143), (3, signal.SIGINT, 130)):
        process = shell.start(ASK)
        wait_for_epoch(shell, epoch, process)
        process.send_signal(signum)
        assert process.wait(PATIENCE_SECONDS) == code
        assert "KILLED" in shell.run("lenet runs").stdout
        shell.run("lenet sync")
        assert query(shell.home, "select status from runs") == [("KILLED",)]
    done = shell.run(ASK)
    assert "resumed after epoch" in done.stdout
    assert weights(shell.home) == undisturbed
    assert query(shell.home, "select status from runs") == [("FINISHED",)]
    points = query(shell.home, "select step, count(*) from metrics where key = 'val/error' group by step")
    assert points == [(1, 1), (2, 1), (3, 1), (4, 1)]


def test_killed_sweep_trains_what_is_missing(shell: Shell) -> None:
    ask = f"{ASK.replace('train.py', 'train.py -m')} seed=1,2"
    process = shell.start(ask)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any('"FINISHED"' in path.read_text() for path in shell.home.glob("runs/*/status.json")):
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    process.kill()
    process.wait()
    done = shell.run(ask)
    states = [line.split()[5:] for line in done.stdout.splitlines()[1:3]]
    assert states[0] == ["already", "trained"]
    assert states[1][0] in {"trained", "resumed"}


def test_two_processes_asked_for_one_run_train_it_once(shell: Shell) -> None:
    first, second = shell.start(ASK), shell.start(ASK)
    told = [first.communicate(timeout=PATIENCE_SECONDS * 2)[0], second.communicate(timeout=PATIENCE_SECONDS * 2)[0]]
    assert (first.returncode, second.returncode) == (0, 0), told
    assert sum("already trained" in text for text in told) == 1
    assert sum("waiting for it" in text for text in told) == 1
    assert len(query(shell.home, "select run_uuid from runs")) == 1


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(bytes(content))


def test_flipped_bit_in_a_finished_run_is_noticed_and_healed(shell: Shell) -> None:
    ask = ASK.replace("epochs=4", "epochs=1").replace("6000", "1000")
    shell.run(ask)
    before = weights(shell.home)
    for name in ("weights.safetensors", "status.json"):  # tests/test_runs.py flips the others
        (path,) = shell.home.glob(f"runs/*/{name}")
        flip(path)
        assert name in shell.run(ask).stderr
        assert weights(shell.home) == before
    assert "already trained" in shell.run(ask).stdout


def test_flipped_bit_in_the_newest_checkpoint_costs_an_epoch_not_the_run(shell: Shell, undisturbed: bytes) -> None:
    process = shell.start(ASK)
    wait_for_epoch(shell, 2, process)
    process.kill()
    process.wait()
    newest = max(shell.home.glob("runs/*/checkpoints/*.ckpt"))
    flip(newest)
    done = shell.run(ASK)
    assert newest.name in done.stderr
    assert weights(shell.home) == undisturbed


def test_flipped_bit_in_the_data_is_one_line(shell: Shell) -> None:
    path = shell.root / "data/prepared/mnist/train/images.npy"
    flip(path)
    try:
        done = shell.run(ASK, check=False)
    finally:
        flip(path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "images.npy" in done.stderr
    assert "lenet prepare mnist" in done.stderr


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


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
        assert points.fetchall() == [(1, 1), (2, 1), (3, 1), (4, 1)]


def test_killed_while_the_database_is_made_it_is_made_again(shell: Shell) -> None:
    process = shell.start(ASK)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list(shell.home.glob("*.partial")):  # the database under its temporary name
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    process.kill()
    process.wait()
    assert not (shell.home / "mlflow.db").exists()
    shell.run("lenet sync")
    assert query(shell.home, "select status from runs") == [("KILLED",)]


def test_lost_database_is_filled_again(shell: Shell) -> None:
    ask = ASK.replace("epochs=4", "epochs=1").replace("6000", "1000")
    shell.run(ask)
    for path in shell.home.glob("mlflow.db*"):
        path.unlink()
    assert "already trained" in shell.run(ask).stdout
    assert query(shell.home, "select status from runs") == [("FINISHED",)]
    assert query(shell.home, "select count(*) from metrics where key = 'val/error'") == [(1,)]
