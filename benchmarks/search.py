"""What a search loses because trials are proposed from results of `search.parallel_trials` trials before.

    python benchmarks/search.py                  # about four minutes on two cores

That makes a search a function of its settings, whatever the number of workers (docs/search.md). Here the best value of
40 trials with the default, 8, is compared with that of `search.parallel_trials=1`, where each trial knows all results
before it, with five seeds of the sampler: more than any search with several workers can know. Each trial trains three
epochs on 10,000 images, and none is ended early. No time is taken, so that all cores are used.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import machine

from lenet.core.atomic_io import read_json, write_json
from lenet.core.cli_errors import exit_on_error
from lenet.core.errors import LenetError

LENET = str(Path(sys.executable).with_name("lenet"))
DEFAULT, SEQUENTIAL = 8, 1
"""Values of `search.parallel_trials`."""

TRIALS = 40
WORDS = (
    f"search.trials={TRIALS}",
    "search.workers=1",
    "search.pruner=none",
    "search.epochs=3",
    "data.train_size=10000",
)
TOLD_BYTES = 2000


def search(parallel_trials: int, seed: int) -> float:
    """Return the lowest validation error in percent that a search in a fresh home finds."""
    words = [*WORDS, f"search.parallel_trials={parallel_trials}", f"search.sampler_seed={seed}"]
    with tempfile.TemporaryDirectory(prefix="lenet-search-") as home:
        environment = os.environ | {"LENET_HOME": home}
        environment.pop("MLFLOW_TRACKING_URI", None)
        command = [LENET, "search", *words]
        done = subprocess.run(command, cwd=machine.ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LenetError(f"{' '.join(command)}: {done.stderr[-TOLD_BYTES:]}")
        (summary,) = Path(home).glob("searches/*/summary.json")
        return float(read_json(summary)["best"]["val_error"])


def compare(seeds: int) -> None:
    """Measure, print and write benchmarks/results/search.json."""
    about = machine.describe()
    print(f"{about['device']}, {about['cores']} cores; best validation error of {TRIALS} trials in %")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        kinds = (DEFAULT, SEQUENTIAL)
        futures = [{kind: pool.submit(search, kind, seed) for kind in kinds} for seed in range(1, seeds + 1)]
        rows = []
        for seed, row in enumerate(futures, start=1):
            rows.append({kind: future.result() for kind, future in row.items()})
            print(f"seed {seed}: {rows[-1][DEFAULT]:.2f}, sequential {rows[-1][SEQUENTIAL]:.2f}", flush=True)
    differences = [row[DEFAULT] - row[SEQUENTIAL] for row in rows]
    body: dict[str, Any] = {
        "what": "best value of a search, parallel_trials 8 against 1; see benchmarks/search.py",
        "machine": about,
        "best_val_error": [{str(kind): error for kind, error in row.items()} for row in rows],
        "difference": {"mean": mean(differences), "deviation": stdev(differences), "n": len(differences)},
    }
    write_json(machine.RESULTS / "search.json", body)
    print(f"difference {mean(differences):+.3f} ± {stdev(differences):.3f} points (mean ± sd, n = {len(differences)})")


def main() -> None:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(description="Measure what proposing trials in parallel costs in the best value.")
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    exit_on_error(lambda: compare(arguments.seeds))


if __name__ == "__main__":
    main()
