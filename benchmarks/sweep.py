"""A sweep over seeds, whole command, against the same runs one after the other the way the common templates do it.

    python benchmarks/sweep.py                   # one pair of 16 runs of five epochs, about a quarter of an hour

The template trains its runs in one process, as Hydra's basic launcher does, so that it imports once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

import machine
from throughput import OURS, TEMPLATE, on_terminal

from lenet.core.atomic_io import write_json
from lenet.core.cli_errors import exit_on_error


def measure(side: str, runs: int, epochs: int) -> float:
    """Return the seconds of one side's command."""
    with tempfile.TemporaryDirectory(prefix="lenet-sweep-") as folder:
        environment = os.environ | {"LENET_HOME": folder, "TERM": "xterm-256color", "COLUMNS": "120"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        ours = ["train.py", "-m", f"seed=range(1,{runs + 1})", f"trainer.epochs={epochs}"]
        theirs = ["benchmarks/template.py", folder, str(runs), f"trainer.epochs={epochs}"]
        return on_terminal([sys.executable, *(ours if side == OURS else theirs)], environment)


def compare(pairs: int, runs: int, epochs: int) -> None:
    """Measure, print and write benchmarks/results/sweep.json."""
    about = machine.describe()
    print(f"{about['device']}, {about['cores']} cores; {pairs} pairs of {runs} runs of {epochs} epochs")
    rows = []
    for number in range(pairs):
        row = {side: measure(side, runs, epochs) for side in ((OURS, TEMPLATE) if number % 2 else (TEMPLATE, OURS))}
        rows.append(row)
        print(f"{OURS} {row[OURS]:.1f} s, {TEMPLATE} {row[TEMPLATE]:.1f} s", flush=True)
    ratio = machine.summed([row[TEMPLATE] / row[OURS] for row in rows])
    what = "seconds of a sweep, whole command, against the template's runs; see benchmarks/sweep.py"
    body = {"what": what, "machine": about, "runs": runs, "epochs": epochs, "pairs": rows, "ratio": ratio}
    write_json(machine.RESULTS / "sweep.json", body)
    print(f"{machine.told(ratio)} times as fast as the template's runs one after the other")


def main() -> None:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(description="Measure a sweep against the common template's way.")
    parser.add_argument("--pairs", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    exit_on_error(lambda: compare(arguments.pairs, arguments.runs, arguments.epochs))


if __name__ == "__main__":
    main()
