"""How long commands take in a project of ten runs and in one of a thousand.

    python benchmarks/store.py                   # about five minutes on two cores

The runs are copies of one short run with other seeds, written through `RunDir` and brought to MLflow by `lenet sync`.
Measured: a new run of a thousand images, the same run asked for again, `lenet runs`, MLflow's list of runs as the first
page of `lenet ui` asks for it, `lenet --help` and `python train.py --help`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machine
import requests

from lenet.config.schema import identity_of
from lenet.core.atomic_io import sha256_file, write_json
from lenet.core.cli_errors import exit_on_error
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.runs.fingerprint import digest_identity
from lenet.runs.run_dir import RunDir, all_runs

LENET = str(Path(sys.executable).with_name("lenet"))
SHORT_RUN = ("trainer.epochs=1", "data.train_size=1000")
FIRST_COPY = 1000
"""Seed of the first copy."""

SERVER_SECONDS = 60


def timed(command: list[str], home: Path) -> float:
    """Run a command and return its seconds.

    Raises:
        LenetError: it failed.
    """
    environment = os.environ | {"LENET_HOME": str(home)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    began = time.perf_counter()
    done = subprocess.run(command, cwd=machine.ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LenetError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - began


def fill(home: Path, count: int) -> float:
    """Make a project's home with so many finished runs; return the seconds of `lenet sync`."""
    timed([sys.executable, "train.py", *SHORT_RUN], home)
    (first,) = all_runs(Project(machine.ROOT, home))
    for seed in range(FIRST_COPY, FIRST_COPY + count - 1):
        copy(first, seed)
    return timed([LENET, "sync"], home)


def copy(run: RunDir, seed: int) -> None:
    """Write a finished run as if it had been trained with another seed."""
    body, status = run.identity(), run.status()
    body["config"]["seed"] = seed
    body["name"] = f"{body['name']} copy {seed}"
    own = RunDir(
        run.path.with_name(digest_identity(identity_of(body["config"]), body["data_digest"], body["code_digest"]))
    )
    shutil.copytree(run.path, own.path, ignore=shutil.ignore_patterns("*.json", "config.yaml"))
    own.write("history.json", {"epochs": run.history()})
    own.write_identity(body)
    files = {name: sha256_file(own.path / name) for name in status["files"]}
    own.write("status.json", status | {"files": files})


@contextmanager
def server(home: Path) -> Iterator[str]:
    """Give the address of `lenet ui` on a project's store."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [LENET, "ui", "--port", str(port)],
        cwd=machine.ROOT,
        env=os.environ | {"LENET_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address, began = f"http://127.0.0.1:{port}", time.monotonic()
    try:
        while True:
            try:
                requests.get(f"{address}/health", timeout=1)
                break
            except requests.RequestException as error:
                if time.monotonic() - began > SERVER_SECONDS:
                    raise LenetError(f"lenet ui: no answer in {SERVER_SECONDS} s") from error
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


def first_page(address: str) -> float:
    """Return the seconds in which MLflow lists the newest hundred runs of the data set's experiment."""
    api = f"{address}/api/2.0/mlflow"
    named = requests.get(f"{api}/experiments/get-by-name", params={"experiment_name": "mnist"}, timeout=60)
    wanted = {"experiment_ids": [named.json()["experiment"]["experiment_id"]], "max_results": 100}
    began = time.perf_counter()
    answer = requests.post(f"{api}/runs/search", json=wanted | {"order_by": ["attributes.start_time DESC"]}, timeout=60)
    answer.raise_for_status()
    return time.perf_counter() - began


def measure(counts: list[int], times: int) -> None:
    """Measure, print and write benchmarks/results/store.json."""
    about, body = machine.describe(), {}
    print(f"{about['device']}, {about['cores']} cores; seconds")
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="lenet-store-") as temporary:
            home = Path(temporary)
            figures: dict[str, Any] = {"lenet sync, all of them": fill(home, count)}
            new = [timed([sys.executable, "train.py", *SHORT_RUN, f"seed={n}"], home) for n in range(2, 2 + times)]
            commands = {
                "the same run again": [sys.executable, "train.py", *SHORT_RUN, "seed=2"],
                "lenet runs": [LENET, "runs"],
                "lenet --help": [LENET, "--help"],
                "python train.py --help": [sys.executable, "train.py", "--help"],
            }
            figures["a new run"] = machine.summed(new)
            for name, command in commands.items():
                figures[name] = machine.summed([timed(command, home) for _ in range(times)])
            with server(home) as address:
                figures["lenet ui, list of runs"] = machine.summed([first_page(address) for _ in range(times)])
        body[f"{count} runs"] = figures
        for name, seconds in figures.items():
            print(
                f"{count:5} runs  {name:24} {seconds if isinstance(seconds, float) else machine.told(seconds)}",
                flush=True,
            )
    what = "seconds of commands by the number of runs in the store; see benchmarks/store.py"
    write_json(machine.RESULTS / "store.json", {"what": what, "machine": about, "seconds": body})


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Measure commands in a project of few and of many runs.")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 1000], help="default: %(default)s")
    parser.add_argument("--times", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    exit_on_error(lambda: measure(arguments.counts, arguments.times))


if __name__ == "__main__":
    main()
