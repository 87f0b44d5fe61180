"""What a search costs beyond its trainings, what a second worker brings, and what ending trials early saves.

    python benchmarks/search.py                  # some twenty minutes on two cores

Three measurements, each of `lenet search` as a user types it, every search in a home of its own so that no finished run
answers:

1. overhead: seconds a trial, from the first trial's beginning to the last one's end on each worker, less the seconds of
   the epochs themselves: proposing, the database, making ready, checkpoints, the run folder.
2. workers: trials a minute of two workers against one, in turn, with as many trials of equal length (random search over
   rate and smoothing, none ended early).
3. pruning: epochs trained and best validation error, with ASHA and without, the same trials, five repetitions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import machine

from lenet.core.atomic_io import read_json, write_json
from lenet.core.cli_errors import exit_on_error
from lenet.core.errors import LenetError

LENET = str(Path(sys.executable).with_name("lenet"))
FIRST_EPOCH = 3
"""Of twelve: a quarter of the schedule. Judged earlier, the rate is still rising and good trials look like bad ones."""

STORED = machine.RESULTS / "search.json"
TOLD_BYTES = 2000


@dataclass(frozen=True)
class Searched:
    """One search: its trials, what they took, and what came out.

    Attributes:
        trials: that ended.
        span_seconds: from the first trial's beginning to the last one's end.
        worker_seconds: the same, summed over the workers.
        trained_seconds: of the epochs themselves, summed over the workers.
        epochs: trained, of all trials.
        best: lowest validation error in percent.
    """

    trials: int
    span_seconds: float
    worker_seconds: float
    trained_seconds: float
    epochs: int
    best: float

    @property
    def overhead(self) -> float:
        """Seconds a trial beyond its epochs."""
        return (self.worker_seconds - self.trained_seconds) / self.trials

    @property
    def a_minute(self) -> float:
        """Trials a minute."""
        return 60 * self.trials / self.span_seconds


def search(words: list[str]) -> Searched:
    """Run one search in a fresh home."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="lenet-search-") as temporary:
        home = Path(temporary)
        environment = os.environ | {"LENET_HOME": temporary}
        environment.pop("MLFLOW_TRACKING_URI", None)
        done = subprocess.run(
            [LENET, "search", *words], cwd=machine.ROOT, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LenetError(f"lenet search {' '.join(words)}: {done.stderr[-TOLD_BYTES:]}")
        (folder,) = [path.parent for path in home.glob("searches/*/search.json")]
        study = optuna.load_study(study_name=folder.name, storage=f"sqlite:///{home}/searches/optuna.db")
        spans: dict[int, list[tuple[float, float]]] = {}
        trained, epochs = 0.0, 0
        for trial in study.trials:
            assert trial.datetime_start is not None
            assert trial.datetime_complete is not None
            span = (trial.datetime_start.timestamp(), trial.datetime_complete.timestamp())
            spans.setdefault(trial.user_attrs["lenet.worker"], []).append(span)
            trained += trial.user_attrs["lenet.result"]["trained_seconds"]
            epochs += trial.user_attrs["lenet.result"]["trained_epochs"]
        all_spans = [span for one in spans.values() for span in one]
        return Searched(
            trials=len(study.trials),
            span_seconds=max(end for _, end in all_spans) - min(begin for begin, _ in all_spans),
            worker_seconds=sum(max(e for _, e in one) - min(b for b, _ in one) for one in spans.values()),
            trained_seconds=trained,
            epochs=epochs,
            best=float(read_json(folder / "summary.json")["best"]["val_error"]),
        )


def scaling(pairs: int) -> dict[str, Any]:
    """Measure overhead and what a second worker brings."""
    print("pair   trials/min: one  two   ratio   overhead s: one  two")
    rows = []
    for number in range(1, pairs + 1):
        common = ["search.sampler=random", "search.pruner=none", "search.epochs=2", "search.trials=12"]
        common += [f"search.seed={number}", "data.train_size=15000"]
        common += [f"~search.space.{group}" for group in ("trainer", "model", "distortion")]  # trials of equal length
        row = {}
        for workers in (1, 2) if number % 2 else (2, 1):  # neither always goes first
            row[workers] = search([*common, f"search.workers={workers}"])
        rows.append(row)
        one, two = row[1], row[2]
        print(
            f"{number:4}   {one.a_minute:15.1f}  {two.a_minute:4.1f}  {two.a_minute / one.a_minute:5.2f}"
            f"   {one.overhead:14.2f}  {two.overhead:4.2f}",
            flush=True,
        )
    return {
        "pairs": [{str(workers): asdict(found) for workers, found in row.items()} for row in rows],
        "ratio": machine.summed([row[2].a_minute / row[1].a_minute for row in rows]),
        "overhead_seconds": {
            str(workers): machine.summed([row[workers].overhead for row in rows]) for workers in (1, 2)
        },
    }


def pruning(repetitions: int) -> dict[str, Any]:
    """Measure what ending trials early saves, and what it costs in the best value.

    Both sides are asked the same trials, drawn at random by one worker from the same seed: they differ in the pruner
    alone, and the best value differs only if the best trial was ended early. No time is taken, so both cores are used.
    """
    common = ["search.sampler=random", "search.workers=1", "search.trials=20", "search.epochs=12"]
    common += [f"search.first_epoch={FIRST_EPOCH}", "data.train_size=5000", "data.validation_size=5000"]

    def one(number: int, pruner: str) -> Searched:
        return search([*common, f"search.seed={number}", f"search.pruner={pruner}"])

    print("seed   epochs: all  ASHA   saved   best %: all  ASHA")
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        asked = [
            {kind: pool.submit(one, number, kind) for kind in ("none", "asha")} for number in range(1, repetitions + 1)
        ]
        for number, futures in enumerate(asked, start=1):
            row = {kind: future.result() for kind, future in futures.items()}
            rows.append(row)
            whole, cut = row["none"], row["asha"]
            print(
                f"{number:4}   {whole.epochs:11}  {cut.epochs:4}  {100 * (1 - cut.epochs / whole.epochs):4.0f} %"
                f"   {whole.best:11.2f}  {cut.best:4.2f}",
                flush=True,
            )
    return {
        "repetitions": [{kind: asdict(found) for kind, found in row.items()} for row in rows],
        "saved_percent": machine.summed([100 * (1 - row["asha"].epochs / row["none"].epochs) for row in rows]),
        "best_difference": machine.summed([row["asha"].best - row["none"].best for row in rows]),
    }


def measure(pairs: int, repetitions: int) -> None:
    """Measure, print and write benchmarks/results/search.json; what is not measured again keeps its figures."""
    about = machine.describe()
    print(f"{about['device']}, {about['cores']} cores")
    body = read_json(STORED) if STORED.exists() else {}
    if pairs:
        body["workers"] = scaled = {"machine": about, **scaling(pairs)}
        write_json(STORED, body)  # kept, should the second part be interrupted
        for workers in ("1", "2"):
            print(f"overhead a trial, {workers} at work: {machine.told(scaled['overhead_seconds'][workers], ' s')}")
        print(f"two workers against one: {machine.told(scaled['ratio'])} times the trials a minute")
    if repetitions:
        body["pruning"] = pruned = {"machine": machine.describe(), **pruning(repetitions)}
        write_json(STORED, body)
        print(f"epochs saved by ASHA: {machine.told(pruned['saved_percent'], ' %')}")
        print(f"best value, ASHA less all: {machine.told(pruned['best_difference'], ' points')}")


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description="Measure what a search costs and what its workers and pruner bring.")
    parser.add_argument("--pairs", type=int, default=3, help="of one worker against two; 0: keep what was measured")
    parser.add_argument("--repetitions", type=int, default=5, help="of the pruning; 0: keep what was measured")
    arguments = parser.parse_args()
    exit_on_error(lambda: measure(arguments.pairs, arguments.repetitions))


if __name__ == "__main__":
    main()
