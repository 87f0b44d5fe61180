"""Images per second of the training step alone: the fused kernel at each level of this processor against eager torch.

    python benchmarks/kernels.py                # five rounds, about three minutes on two cores

Both sides take the same steps of the same mini-batches of MNIST through `lenet.training.steps`, as training does, with
Adam and shifts of a pixel, one thread and as many as there are cores. The sides take turns within a round; the ratio is
taken round by round.
"""

from __future__ import annotations

import argparse
import os
import time

import machine
import torch

from lenet.config.compose import compose
from lenet.config.schema import Config
from lenet.core.atomic_io import write_json
from lenet.core.cli_errors import exit_on_error
from lenet.core.processes import cores
from lenet.core.project import Project, find_project
from lenet.data.device_dataset import load_to_device, load_windows_to_device
from lenet.data.loader import TrainingBatches
from lenet.kernels.library import LEVEL_VARIABLE, load_kernel, suitable_levels
from lenet.models.classifier import build_classifier
from lenet.training.devices import set_memory_format
from lenet.training.steps import FusedSteps, TorchSteps

NETWORKS = {
    "tanh, average": ("model.activation=tanh", "model.pooling=average"),
    "ReLU, max": ("model.activation=relu", "model.pooling=max"),
    "GELU, max": ("model.activation=gelu", "model.pooling=max"),
    "ReLU, max, batch normalisation": ("model.activation=relu", "model.pooling=max", "model.normalization=batch"),
}
CHUNKS = 5
"""Of twenty mini-batches each, that a measurement takes the steps of; one before is not counted."""

TORCH = "torch"


def images_per_second(project: Project, config: Config, side: str, threads: int) -> float:
    """Return how many images a second one side trains on.

    Args:
        project: where MNIST is.
        config: the training.
        side: the name of a level, or torch.
        threads: of the side.
    """
    os.environ[LEVEL_VARIABLE] = side
    load_kernel.cache_clear()
    torch.set_num_threads(threads)
    dataset = load_to_device(project.prepared(config.data.name), config.data, torch.device("cpu"))
    classifier = build_classifier(config, dataset.mean, dataset.deviation)
    if side == TORCH:
        set_memory_format(classifier.network, "cpu")
    steps = (TorchSteps if side == TORCH else FusedSteps)(config, classifier)
    windows = load_windows_to_device(dataset.images, classifier.field.input_size, config.augmentation.shift)
    batches = TrainingBatches(windows, dataset.labels, config.trainer.batch_size, config.seed, lambda: 0)
    images, seconds = 0, 0.0
    for number, chunk in enumerate(batches):
        rates = [config.optimizer.learning_rate] * chunk.step_count
        began = time.perf_counter()
        steps.train(chunk, rates, lambda loss: loss.backward())
        if number:
            images, seconds = images + len(chunk.labels), seconds + time.perf_counter() - began
        if number == CHUNKS:
            break
    return images / seconds


def compare(rounds: int) -> None:
    """Measure, print and write benchmarks/results/kernels.json."""
    project, about = find_project(machine.ROOT), machine.describe()
    sides = [TORCH, *(level.name for level in suitable_levels())]
    print(f"{about['device']}, {about['cores']} cores; {rounds} rounds; images per second")
    networks = {}
    for name, words in NETWORKS.items():
        config = compose(project, [*words, "augmentation=shift"])
        found: dict[str, list[float]] = {}
        for number in range(rounds):
            for side in sides if number % 2 else sides[::-1]:
                for threads in sorted({1, cores()}):
                    speed = images_per_second(project, config, side, threads)
                    found.setdefault(f"{side}, {threads} threads", []).append(speed)
        ratios = {
            key: machine.summed([a / b for a, b in zip(speeds, found[f"{TORCH}, {key.split(', ')[1]}"], strict=True)])
            for key, speeds in found.items()
            if not key.startswith(TORCH)
        }
        networks[name] = {
            "images_per_second": {key: machine.summed(speeds) for key, speeds in found.items()},
            "ratio_to_torch": ratios,
        }
        for key, speeds in found.items():
            ratio = f"   {machine.told(ratios[key])} times torch" if key in ratios else ""
            print(f"{name:32} {key:20} {machine.summed(speeds)['median']:9,.0f}{ratio}", flush=True)
    what = "images/s of training steps alone, fused kernel against eager torch; see benchmarks/kernels.py"
    write_json(machine.RESULTS / "kernels.json", {"what": what, "machine": about, "networks": networks})


def main() -> None:
    """Compare as the command line says."""
    parser = argparse.ArgumentParser(description="Measure the fused kernel against eager torch.")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    arguments = parser.parse_args()
    exit_on_error(lambda: compare(arguments.rounds))


if __name__ == "__main__":
    main()
