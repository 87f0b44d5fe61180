"""What a step does to the weights, against the same steps taken by hand in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from torch import nn

from lenet.config.schema import Config
from lenet.data.augment import RandomShift
from lenet.data.loader import EvaluationBatches, TrainingBatches, epoch_generator
from lenet.models.classifier import Classifier, PadAndNormalize
from lenet.models.lenet5 import INPUT_SIZE
from lenet.training.module import ClassifierModule
from lenet.training.steps import TorchSteps

MakeConfig = Callable[..., Config]
Array = NDArray[np.float64]
CLASSES, SEED = 10, 3
MEAN, DEVIATION = 0.25, 0.5
RATE = 0.05


class EpochEnds(lightning.Callback):
    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, ClassifierModule)
        module.close_epoch()


def sgd(**knobs: Any) -> dict[str, Any]:
    plain = {"name": "sgd", "learning_rate": RATE, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    return plain | {"label_smoothing": 0.0, "schedule": {"name": "constant"}} | knobs


def digits(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(count)
    images = draw.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    return torch.from_numpy(images), torch.from_numpy(draw.integers(0, CLASSES, count))


def soft_max(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Array = powers / powers.sum(axis=1, keepdims=True)
    return found


def targets(labels: NDArray[np.int64], smoothing: float) -> Array:
    found: Array = (1 - smoothing) * np.eye(CLASSES)[labels] + smoothing / CLASSES
    return found


def pixels(images: torch.Tensor) -> Array:
    """Images as the field hands them on, flat: normalised on the scale of 0 to 1."""
    margin = (INPUT_SIZE - images.shape[-1]) // 2
    padded = np.pad(images.numpy().astype(np.float64), ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    return ((padded / 255 - MEAN) / DEVIATION).reshape(len(images), -1)


class ByHand:
    """Softmax regression trained by gradient descent, written out.

    Attributes:
        rows: `train/loss`, `train/error`, `val/loss` and `val/error` of each epoch.
    """

    def __init__(self, linear: nn.Linear) -> None:
        self.weight = linear.weight.detach().numpy().astype(np.float64)
        self.bias = linear.bias.detach().numpy().astype(np.float64)
        self.rows: list[tuple[float, ...]] = []
        self.clipped = 0

    def logits(self, seen: Array) -> Array:
        found: Array = seen @ self.weight.T + self.bias
        return found

    def loss(self, seen: Array, labels: NDArray[np.int64], smoothing: float) -> tuple[float, float]:
        """Summed cross entropy in nats, and the number of wrong answers."""
        logits = self.logits(seen)
        entropy = -(targets(labels, smoothing) * np.log(soft_max(logits))).sum()
        return float(entropy), float((logits.argmax(axis=1) != labels).sum())

    def train(self, config: Config, training: Any, validation: Any) -> None:
        images, labels = training
        seen, answers = pixels(images), labels.numpy()
        size, smoothing = config.trainer.batch_size * config.trainer.accumulate, config.optimizer.label_smoothing
        for epoch in range(config.trainer.epochs):
            order = torch.randperm(len(labels), generator=epoch_generator(SEED, epoch)).numpy()
            sums = np.zeros(2)
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                sums += self.loss(seen[batch], answers[batch], smoothing)
                error = soft_max(self.logits(seen[batch])) - targets(answers[batch], smoothing)
                weight, bias = error.T @ seen[batch] / len(batch), error.mean(axis=0)
                norm, limit = np.sqrt((weight**2).sum() + (bias**2).sum()), config.trainer.gradient_clip
                scale = 1.0 if limit is None else min(1.0, limit / norm)
                self.clipped += scale < 1
                self.weight -= RATE * scale * weight
                self.bias -= RATE * scale * bias
            loss, wrong = sums / len(order)
            held_out = np.array(self.loss(pixels(validation[0]), validation[1].numpy(), 0.0)) / len(validation[1])
            self.rows.append((loss, 100 * wrong, held_out[0], 100 * held_out[1]))


# Four images are one step, eight two of equal size, eleven end with a smaller one, 43 × 2 are a whole chunk and a part.
@pytest.mark.parametrize(
    ("images", "size", "epochs", "smoothing", "accumulate", "clip"),
    [
        (4, 4, 1, 0.3, 1, None),
        (8, 4, 1, 0.0, 1, None),
        (11, 4, 3, 0.3, 1, None),
        (85, 2, 1, 0.0, 1, None),
        (85, 2, 2, 0.0, 3, None),  # the last step of an epoch has one mini-batch of two images and one of one
        (23, 2, 1, 0.0, 30, None),
        (43, 2, 1, 0.0, 1, 20.0),
        (85, 2, 2, 0.0, 3, 20.0),
    ],
)
def test_steps_are_those_of_gradient_descent_by_hand(
    make_config: MakeConfig, images: int, size: int, epochs: int, smoothing: float, accumulate: int, clip: float | None
) -> None:
    config = make_config(
        seed=SEED,
        trainer__epochs=epochs,
        trainer__batch_size=size,
        trainer__accumulate=accumulate,
        trainer__gradient_clip=clip,
        trainer__kernel="torch",
        optimizer=sgd(label_smoothing=smoothing),
    )
    torch.manual_seed(9)
    linear = nn.Linear(INPUT_SIZE**2, CLASSES)
    expected = ByHand(linear)
    training, validation = digits(images), digits(1007)
    field = PadAndNormalize([MEAN], [DEVIATION], (INPUT_SIZE, INPUT_SIZE))
    classifier = Classifier(field, nn.Sequential(nn.Flatten(), linear), (1, 28, 28))
    module = ClassifierModule(config, classifier, TorchSteps(config, classifier))
    windows = RandomShift(training[0], (INPUT_SIZE, INPUT_SIZE), 0)
    module.batches = TrainingBatches(
        windows, training[1], size, SEED, lambda: module.current_epoch, accumulate=accumulate
    )
    module.validation = EvaluationBatches(*validation)  # two batches, of unequal size
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[EpochEnds()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(module)
    expected.train(config, training, validation)
    assert (expected.clipped > 0) == (clip is not None)
    assert linear.weight.detach().numpy() == pytest.approx(expected.weight, abs=5e-6)
    assert linear.bias.detach().numpy() == pytest.approx(expected.bias, abs=5e-6)
    for row, (loss, error, held_out_loss, held_out_error) in zip(module.history, expected.rows, strict=True):
        assert row["train/loss"] == pytest.approx(loss, rel=1e-5)
        assert row["val/loss"] == pytest.approx(held_out_loss, rel=1e-5)
        assert row["train/error"] == pytest.approx(error, abs=1e-3)
        assert row["val/error"] == pytest.approx(held_out_error, abs=1e-3)
