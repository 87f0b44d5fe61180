"""Training on one GPU: steps recorded as CUDA graphs against eager ones and the template's way; four runs at once.

    python benchmarks/gpu.py                     # about seven minutes

Whole commands in turn, measured as throughput.py does, at batch 128 and 1024, with the time to 98 and 99 % validation
accuracy; then four seeds with four worker processes on one GPU against one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import machine
from throughput import ACCURACIES, OURS, TEMPLATE, Measured, measure, on_terminal, training_images

from lenet.core.atomic_io import write_json
from lenet.core.cli_errors import exit_on_error
from lenet.core.project import find_project

RECIPES = {128: (5, 0.003), 1024: (10, 0.008)}
"""Epochs and learning rate of each batch size: a larger one takes fewer steps an epoch."""

GRAPHS, EAGER = "recorded", "eager"
SEEDS = 4
BATCH = 128
"""Of the template and of the seeds at once."""


def overrides(side: str, batch: int) -> list[str]:
    """Return the overrides of one side at a batch size."""
    graphs = f"trainer.cuda_graphs={str(side != EAGER).lower()}"
    return [
        "trainer.accelerator=gpu",
        f"trainer.batch_size={batch}",
        f"optimizer.learning_rate={RECIPES[batch][1]}",
        graphs,
    ]


def seeds_at_once(workers: int, batch: int) -> float:
    """Return the seconds of a sweep over SEEDS seeds with so many worker processes."""
    with tempfile.TemporaryDirectory(prefix="lenet-gpu-") as folder:
        environment = os.environ | {"LENET_HOME": folder, "TERM": "xterm-256color", "COLUMNS": "120"}
        seeds, epochs = f"seed=range(1,{SEEDS + 1})", f"trainer.epochs={RECIPES[batch][0]}"
        words = ["-m", seeds, epochs, f"hydra.launcher.workers={workers}", *overrides(GRAPHS, batch)]
        return on_terminal([sys.executable, "train.py", *words], environment)


def compare(rounds: int, template_rounds: int) -> None:
    """Measure, print and write benchmarks/results/gpu.json."""
    images, about = training_images(find_project(machine.ROOT)), machine.describe()
    print(f"{about['device']}, {about['cores']} cores; {rounds} rounds; {images:,} images an epoch")
    body: dict[str, Any] = {"what": "training on one GPU; see benchmarks/gpu.py", "machine": about}
    for batch, (epochs, _) in RECIPES.items():
        found: dict[str, list[Measured]] = {}
        for number in range(rounds):
            sides = [GRAPHS, EAGER, *([TEMPLATE] if number < template_rounds and batch == BATCH else [])]
            for side in sides if number % 2 else sides[::-1]:
                way = TEMPLATE if side == TEMPLATE else OURS
                one = measure(way, epochs, images, overrides(side, batch))
                found.setdefault(side, []).append(one)
        body[f"batch {batch}"] = {side: summary(trainings) for side, trainings in found.items()}
        write_json(machine.RESULTS / "gpu.json", body)
        for side, trainings in found.items():
            print(f"batch {batch}, {side}: {_told(trainings)}", flush=True)
    body["seeds_at_once"] = {}
    for workers in (1, SEEDS):
        seconds = machine.summed([seeds_at_once(workers, BATCH) for _ in range(template_rounds)])
        body["seeds_at_once"][f"{workers} workers"] = seconds
        print(f"{SEEDS} seeds, {workers} workers: {machine.told(seconds, ' s')}", flush=True)
    write_json(machine.RESULTS / "gpu.json", body)


def summary(trainings: Sequence[Measured]) -> dict[str, Any]:
    """Return the figures of one side, and the trainings they are of."""
    epochs = [b - a for one in trainings for a, b in zip(one.ended[1:-1], one.ended[2:], strict=True)]
    return {
        "images_per_second": machine.summed([one.images_per_second for one in trainings]),
        "epoch_seconds_from_the_third": machine.summed(epochs),
        "process_seconds": machine.summed([one.process_seconds for one in trainings]),
        "seconds_to": {
            f"{accuracy} % validation accuracy": machine.summed(reached)
            for accuracy in ACCURACIES
            if (reached := [t for one in trainings if (t := one.seconds_to(100 - accuracy)) is not None])
        },
        "trainings": [asdict(one) for one in trainings],
    }


def _told(trainings: Sequence[Measured]) -> str:
    figures = summary(trainings)
    parts = [f"{name.replace('_', ' ')} {machine.told(figures[name])}" for name in list(figures)[:3]]
    parts += [f"{name} after {machine.told(values, ' s')}" for name, values in figures["seconds_to"].items()]
    return "; ".join([*parts, f"last validation error {trainings[-1].val_errors[-1]:.2f} %"])


def main() -> None:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(description="Measure training on one GPU.")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--template-rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args()
    exit_on_error(lambda: compare(arguments.rounds, arguments.template_rounds))


if __name__ == "__main__":
    main()
