"""What keeping books costs: tracking, checkpoints and history beside a training, and the start-up of the commands.

    python benchmarks/bookkeeping.py             # five pairs of ten epochs, about twenty minutes on two cores

Two measurements:

1. A ten-epoch run as shipped (`python train.py trainer.epochs=10`) against the same training with nothing kept (this
   file with `--bare`), in turn, each pair with a seed of its own so that no finished run can answer. The bare side
   calls `lenet.training.fit` with a keeper that closes each epoch's measures and does nothing else: no checkpoint, no
   history, no run folder, no MLflow, no pictures. It trains and validates alike and writes the weights at the end. The
   home holds an MLflow database already, as it does from a project's second run on.
     epochs    from the beginning of the first epoch to the end of training (probe.py): what the books cost while
               training goes on, MLflow's thread beside it included.
     process   the whole command: importing MLflow, drawing the pictures, waiting until the store shows everything.
2. Seconds of what should feel instant: `lenet --help`, `python train.py --help`, a run that is trained already, and a
   `dvc repro` that finds nothing to do (left out where the checkout is not up to date). Medians of `--times`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import probe

from lenet.core.atomic_io import write_json
from lenet.core.cli_errors import exit_on_error
from lenet.core.errors import LenetError
from lenet.core.project import find_project

OURS, BARE = "as shipped", "bare"
UP_TO_DATE = "Data and pipelines are up to date."
BIN = Path(sys.executable).parent


def train_bare(words: list[str]) -> None:
    """Train what `python train.py WORDS` trains, and keep nothing of it but the weights, in a folder that goes."""
    from lenet.config.compose import compose
    from lenet.training import fit

    class Nothing(fit._CheckpointCallback):
        """Closes an epoch's measures, which validation needs, and keeps none of them."""

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            module.close_epoch()

        def keep(self, module: Any) -> None:
            pass

    project = find_project(machine.ROOT)
    config = compose(project, words)
    with tempfile.TemporaryDirectory(prefix="lenet-bare-") as temporary, fit.GracefulStop() as interrupts:
        folder = Path(temporary)
        keeper = Nothing(config, folder, lambda: None, interrupts)
        fit._fit(config, project.prepared(config.data.name), folder, rank=0, keeper=keeper, say=print)


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Run a command; return its seconds and its standard output.

    Raises:
        LenetError: it failed.
    """
    began = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=machine.ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise LenetError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return seconds, done.stdout


def home_environment(home: Path) -> dict[str, str]:
    """Return the environment of a project that keeps its runs in `home`, in SQLite whatever the user has set."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return environment | {"LENET_HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def training_cost(pairs: int, epochs: int, home: Path) -> dict[str, Any]:
    """Measure runs as shipped and bare in turn."""
    environment = home_environment(home)
    print("pair   epochs s: shipped   bare  share   process s: shipped   bare  share")
    rows = []
    for number in range(1, pairs + 1):
        words = [f"trainer.epochs={epochs}", f"seed={number}"]
        commands = {OURS: ["train.py", *words], BARE: [str(Path(__file__).resolve()), "--bare", *words]}
        row: dict[str, dict[str, float]] = {}
        for side in (OURS, BARE) if number % 2 else (BARE, OURS):
            with tempfile.TemporaryDirectory(prefix="lenet-probe-") as temporary:
                variables, file = probe.attached(Path(temporary) / "probe")
                seconds, _ = timed([sys.executable, *commands[side]], environment | variables)
                row[side] = {"epochs": probe.read(file, epochs), "process": seconds}
        rows.append(row)
        shown = [(row[OURS][what], row[BARE][what], share(row, what)) for what in ("epochs", "process")]
        (a, b, c), (d, e, f) = shown
        print(f"{number:4}   {a:17.1f}  {b:5.1f}  {c:4.0f} %  {d:17.1f}  {e:5.1f}  {f:4.0f} %", flush=True)
    return {
        "pairs": rows,
        "epochs_share_percent": machine.summed([share(row, "epochs") for row in rows]),
        "process_share_percent": machine.summed([share(row, "process") for row in rows]),
    }


def share(row: dict[str, dict[str, float]], what: str) -> float:
    """Return which part of a run as shipped the bare one does not need, in percent."""
    return 100 * (row[OURS][what] - row[BARE][what]) / row[OURS][what]


def is_up_to_date(dvc: str, environment: dict[str, str]) -> bool:
    """Say whether `dvc repro` would find nothing to do in this checkout."""
    try:
        return UP_TO_DATE in timed([dvc, "repro", "--dry"], environment)[1]
    except LenetError:  # outs are missing: it was never reproduced here
        return False


def startup(times: int, epochs: int, home: Path) -> dict[str, Any]:
    """Measure the commands that should feel instant; `home` holds the run that is asked for again."""
    environment, own = home_environment(home), home_environment(machine.ROOT)
    own.pop("LENET_HOME")
    train, lenet, dvc = [sys.executable, "train.py"], str(BIN / "lenet"), str(BIN / "dvc")
    again = [*train, f"trainer.epochs={epochs}", "seed=1"]
    commands = {
        "lenet --help": ([lenet, "--help"], environment),
        "python train.py --help": ([*train, "--help"], environment),
        "python train.py, already trained": (again, environment),
    }
    if is_up_to_date(dvc, own):
        commands["dvc repro, nothing to do"] = ([dvc, "repro"], own)
    else:
        print("dvc repro is left out: the checkout is not up to date; `make repro` first")
    figures = {}
    for name, (command, variables) in commands.items():
        timed(command, variables)  # the first call reads the files from the disk
        seconds = [timed(command, variables) for _ in range(times)]
        if command == again and "already trained" not in seconds[0][1]:
            raise LenetError(f"{' '.join(command)}: was trained anew, where it should have been answered")
        figures[name] = machine.summed([one for one, _ in seconds])
        print(f"{name:34} {machine.told(figures[name], ' s')}", flush=True)
    return figures


def measure(pairs: int, epochs: int, times: int) -> None:
    """Measure, print and write benchmarks/results/bookkeeping.json."""
    about = machine.describe()
    print(f"{about['device']}, {about['cores']} cores; {pairs} pairs of {epochs} epochs")
    with tempfile.TemporaryDirectory(prefix="lenet-bookkeeping-") as temporary:
        home = Path(temporary)
        first = ["train.py", "trainer.epochs=1", "data.train_size=1000"]  # makes MLflow's database
        timed([sys.executable, *first], home_environment(home))
        training, instant = training_cost(pairs, epochs, home), startup(times, epochs, home)
    body = {"machine": about, "epochs": epochs, "training": training, "startup_seconds": instant}
    write_json(machine.RESULTS / "bookkeeping.json", body)
    print(f"the books, of the epochs:  {machine.told(training['epochs_share_percent'], ' %')}")
    print(f"the books, of the process: {machine.told(training['process_share_percent'], ' %')}")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Measure what tracking, checkpoints and bookkeeping cost.")
    parser.add_argument("--pairs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--times", type=int, default=5, help="of each start-up; default: %(default)s")
    parser.add_argument("--bare", nargs="+", metavar="OVERRIDE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        exit_on_error(lambda: train_bare(arguments.bare))
    else:
        exit_on_error(lambda: measure(arguments.pairs, arguments.epochs, arguments.times))


if __name__ == "__main__":
    main()
