"""Images per second of `python train.py` against the same training written the way the common templates do it.

    python benchmarks/throughput.py              # five pairs of five epochs, about six minutes on two cores

Both sides run as processes of their own, in turn, each in a fresh folder, so that no finished run can answer; both on a
pseudo-terminal, so that both draw their progress bars. Nothing else should run on the machine; the ratio of each pair
holds better than the figures themselves, which drift with the machine's neighbours.

What is measured, of each side by the same stopwatch (probe.py):
  epochs    from the beginning of the first epoch to the end of training: every step, the validation after each epoch,
            checkpoints, logging and tracking as far as training waits for them. Images are the training images alone.
  process   the whole command, from its start to its exit: importing, reading the data, making MLflow's database
            (once in a project's life, but a fresh home has none), drawing the pictures, sending the last of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import machine
import probe
from template import ERRORS

from lenet.config.compose import compose
from lenet.core.atomic_io import write_json
from lenet.core.cli_errors import exit_on_error
from lenet.core.errors import LenetError
from lenet.core.project import Project, find_project
from lenet.data.arrays import load_training
from lenet.data.split import split
from lenet.kernels.library import LEVEL_VARIABLE
from lenet.runs.run_dir import all_runs

SIDES = OURS, TEMPLATE = "lenet", "template"
ACCURACIES = (98, 99)
"""In percent of the validation images: the time until an epoch ends with so many read right is measured."""

TOLD_BYTES = 2000
"""How much of a failed process's last words is shown."""


@dataclass(frozen=True)
class Measured:
    """One training.

    Attributes:
        process_seconds: of the whole command.
        epochs_seconds: of its epochs.
        images_per_second: training images that it took in its epochs.
        val_errors: validation error of each epoch in percent.
        ended: when each epoch ended, in seconds after the command's start.
    """

    process_seconds: float
    epochs_seconds: float
    images_per_second: float
    val_errors: list[float]
    ended: list[float]

    def seconds_to(self, error: float) -> float | None:
        """Return the time from the command's start until the validation error was so low; None if it never was."""
        return next((t for t, found in zip(self.ended, self.val_errors, strict=True) if found <= error), None)


def training_images(project: Project) -> int:
    """Return the images of one epoch of the default variant."""
    config = compose(project, [])
    order = load_training(project.prepared(config.data.name)).order
    return len(split(order, config.data.train_size, config.data.validation_size)[0])


def on_terminal(command: list[str], environment: dict[str, str]) -> float:
    """Run a command on a pseudo-terminal that nobody looks at; return its seconds.

    Raises:
        LenetError: it failed; the message holds the end of what it said.
    """
    leader, follower = pty.openpty()
    said = bytearray()

    def drain() -> None:
        try:
            while block := os.read(leader, 1 << 16):
                said.extend(block)
        except OSError:  # Linux's way to tell the end of a pseudo-terminal
            pass

    reader = threading.Thread(target=drain, daemon=True)
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=machine.ROOT, env=environment, stdout=follower, stderr=follower) as process:
        os.close(follower)
        reader.start()
    seconds = time.perf_counter() - began
    reader.join()
    os.close(leader)
    if process.returncode:
        raise LenetError(
            f"{' '.join(command)}: exit code {process.returncode}: {said[-TOLD_BYTES:].decode(errors='replace')}"
        )
    return seconds


def measure(side: str, epochs: int, images: int, overrides: Sequence[str] = ()) -> Measured:
    """Train one side once.

    Args:
        side: whose way of training.
        epochs: of the training.
        images: of an epoch.
        overrides: of the config.
    """
    with tempfile.TemporaryDirectory(prefix="lenet-throughput-") as temporary:
        folder = Path(temporary)
        variables, file = probe.attached(folder / "probe")
        environment = os.environ | variables | {"LENET_HOME": str(folder), "TERM": "xterm-256color", "COLUMNS": "120"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        command = ["train.py"] if side == OURS else ["benchmarks/template.py", temporary, "1"]
        began = time.time()
        seconds = on_terminal([sys.executable, *command, f"trainer.epochs={epochs}", *overrides], environment)
        times = probe.read(file, epochs)
        if side == OURS:
            (run,) = all_runs(Project(root=machine.ROOT, home=folder))
            errors = [row["val/error"] for row in run.history()]
        else:
            errors = json.loads((folder / ERRORS).read_text())
    trained = times.ended - times.began
    return Measured(seconds, trained, epochs * images / trained, errors, [end - began for end in times.epochs])


def compare(pairs: int, epochs: int, level: str | None) -> None:
    """Measure, print and write benchmarks/results/throughput.json, or throughput-LEVEL.json."""
    project = find_project(machine.ROOT)
    if level is not None:
        os.environ[LEVEL_VARIABLE] = level
    images, about = training_images(project), machine.describe()
    print(f"{about['device']}, {about['cores']} cores; {pairs} pairs of {epochs} epochs of {images:,} images")
    print("pair   lenet img/s  template img/s  ratio   process s: lenet  template  ratio   val/error %")
    rows: list[dict[str, Measured]] = []
    for number in range(1, pairs + 1):
        order = (OURS, TEMPLATE) if number % 2 else (TEMPLATE, OURS)  # neither side always goes first
        row = {side: measure(side, epochs, images) for side in order}
        rows.append(row)
        ours, theirs = row[OURS], row[TEMPLATE]
        print(
            f"{number:4}   {ours.images_per_second:11,.0f}  {theirs.images_per_second:14,.0f}"
            f"  {ours.images_per_second / theirs.images_per_second:5.2f}"
            f"   {ours.process_seconds:16.1f}  {theirs.process_seconds:8.1f}"
            f"  {theirs.process_seconds / ours.process_seconds:5.2f}"
            f"   {ours.val_errors[-1]:.2f} {theirs.val_errors[-1]:.2f}",
            flush=True,
        )
    body = {
        "what": "images/s of training as shipped against the common template's way; see benchmarks/throughput.py",
        "machine": about,
        "epochs": epochs,
        "images_an_epoch": images,
        "pairs": [{side: asdict(one) for side, one in row.items()} for row in rows],
        "images_per_second": {side: machine.summed([row[side].images_per_second for row in rows]) for side in SIDES},
        "seconds_to": {
            f"{side}, {accuracy} % validation accuracy": machine.summed(reached)
            for side in SIDES
            for accuracy in ACCURACIES
            if (reached := _reached([row[side] for row in rows], accuracy))
        },
        "epochs_ratio": machine.summed([row[OURS].images_per_second / row[TEMPLATE].images_per_second for row in rows]),
        "process_ratio": machine.summed([row[TEMPLATE].process_seconds / row[OURS].process_seconds for row in rows]),
    }
    write_json(machine.RESULTS / f"throughput{f'-{level}' if level else ''}.json", body)
    print(f"epochs:  {machine.told(body['epochs_ratio'])} times the template's images per second")
    print(f"process: {machine.told(body['process_ratio'])} times as fast as a whole")
    for name, figures in body["seconds_to"].items():
        print(f"{name}: {machine.told(figures, ' s')} after the command")


def _reached(trainings: Sequence[Measured], accuracy: int) -> list[float]:
    """Return the seconds of those that came to a validation accuracy in percent."""
    return [seconds for one in trainings if (seconds := one.seconds_to(100 - accuracy)) is not None]


def main() -> None:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(description="Measure training throughput against the common template's way.")
    parser.add_argument("--pairs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--level", help="the kernel's processor level, such as avx2; default: the best there is")
    arguments = parser.parse_args()
    exit_on_error(lambda: compare(arguments.pairs, arguments.epochs, arguments.level))


if __name__ == "__main__":
    main()
