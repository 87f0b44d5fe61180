"""Several processes that train one run: rank 0 starts the others itself, whatever command it was started by.

Lightning would start them by running the user's command line again, which in a sweep would be the whole sweep again.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lenet.config.schema import Config, parse_config
from lenet.core.cli_errors import TRACEBACK_VARIABLE

LOOPBACK = "127.0.0.1"
LEAVING_SECONDS = 10.0
"""How long the other ranks may take to leave by themselves once rank 0 is through."""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def _environment(rank: int, world: int, port: int) -> dict[str, str]:
    return {
        "MASTER_ADDR": LOOPBACK,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
    }


@contextmanager
def other_ranks(config: Config, prepared: Path, folder: Path) -> Iterator[None]:
    """Within the block, ranks 1 and up run beside this process, which is rank 0; they never outlive the block."""
    world = config.trainer.devices
    port = _free_port()
    task = json.dumps({"config": config.tree(), "prepared": str(prepared), "folder": str(folder)})
    before = {name: os.environ.get(name) for name in _environment(0, world, port)}
    ranks: list[subprocess.Popen[str]] = []
    try:
        for rank in range(1, world):
            environment = os.environ | _environment(rank, world, port)
            command = [sys.executable, "-m", "lenet.training.distributed"]
            process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, text=True)
            ranks.append(process)
            assert process.stdin is not None
            process.stdin.write(task)
            process.stdin.close()
        os.environ.update(_environment(0, world, port))
        yield
        for process in ranks:
            with suppress(subprocess.TimeoutExpired):  # the run is whole without it
                process.wait(timeout=LEAVING_SECONDS)
    finally:
        for process in ranks:
            process.kill()
            process.wait()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _work() -> None:
    """Be one of the other ranks: rank 0 alone hears signals, keeps files and reports."""
    from lenet.core.processes import die_with_parent

    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = json.load(sys.stdin)

    from lenet.core.errors import EXIT_FAILED, LenetError
    from lenet.training.fit import fit_rank

    config, rank = parse_config(task["config"]), int(os.environ["LOCAL_RANK"])
    try:
        fit_rank(config, Path(task["prepared"]), Path(task["folder"]), rank)
    except (LenetError, RuntimeError):
        # What went wrong here went wrong on rank 0 too, or is that rank 0 has left; it is rank 0 that reports.
        if os.environ.get(TRACEBACK_VARIABLE) == "1":
            raise
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    _work()
