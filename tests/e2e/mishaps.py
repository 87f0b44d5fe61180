"""Runs that are killed and files that are damaged, for the tests of it."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from shell import Shell

EPOCHS = 5
ASK = f"python train.py trainer.epochs={EPOCHS} data.train_size=24000 trainer.checkpoint_seconds=0"
EVERY_EPOCH_ONCE = [(epoch, 1) for epoch in range(1, EPOCHS + 1)]
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 90


def wait_until(is_so: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is so that `process` brings about."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


def wait_for_epoch(shell: Shell, epoch: int, process: subprocess.Popen[str]) -> None:
    """Wait until an epoch's checkpoint is on disk."""
    wait_until(lambda: list(shell.home.glob(f"runs/*/checkpoints/epoch-{epoch:05d}-*.ckpt")), process)


def query(home: Path, text: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        return connection.execute(text).fetchall()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(bytes(content))
