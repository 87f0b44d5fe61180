"""The training step: several mini-batches a call, measures summed on the device, one row of history an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from lenet.config.schema import Config
from lenet.core.errors import DamagedError, RunFailedError
from lenet.data.loader import BatchChunk, EvaluationBatches, TrainingBatches
from lenet.models.classifier import Classifier
from lenet.training.lightning import lightning
from lenet.training.optimizers import learning_rate_factor
from lenet.training.steps import Steps

ERROR_DECIMALS = 4
"""Of an error in percent: one image of 60,000 is 0.0017, and torchmetrics' fp32 is good to seven digits."""

HistoryRow = dict[str, float]
"""One epoch: `epoch` counts from 1; `…/error` is percent misread, `…/loss` nats, `seconds` wall time."""


class ClassifierModule(lightning.LightningModule):
    """Trains a Classifier as the config says.

    Manual optimisation lets one training step hold several mini-batches, which takes away what Lightning costs a step.

    Args:
        config: the run.
        classifier: the network with its preprocessing.
        steps: what takes the optimizer's steps of that network.
    """

    def __init__(self, config: Config, classifier: Classifier, steps: Steps) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config = config
        self.classifier = classifier
        self._steps = steps
        self.history: list[HistoryRow] = []
        self.batches: TrainingBatches | None = None
        self.validation: EvaluationBatches | None = None
        classes = len(config.data.classes)
        self.train_loss = MeanMetric()
        self.train_accuracy = MulticlassAccuracy(classes, average="micro")
        # Every rank reads the whole validation part, so its measures are never summed over ranks.
        self.validation_loss = MeanMetric(sync_on_compute=False)
        self.validation_accuracy = MulticlassAccuracy(classes, average="micro", sync_on_compute=False)
        self._began = time.monotonic()
        self._learning_rate = config.optimizer.learning_rate

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return torch's optimizer, if it takes the steps; the schedule is a function of their number."""
        return self._steps.optimizers

    def train_dataloader(self) -> TrainingBatches:
        """Return the batches that `fit` loaded to the device."""
        assert self.batches is not None
        return self.batches

    def val_dataloader(self) -> EvaluationBatches | list[Any]:
        """Return the validation part that `fit` loaded to the device; nothing where there is none."""
        return [] if self.validation is None else self.validation

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave the batch where it is: the data set lives on the device already."""
        return batch

    def on_train_epoch_start(self) -> None:
        """Start the epoch's clock."""
        self._began = time.monotonic()

    def training_step(self, chunk: BatchChunk, batch_idx: int) -> None:
        """Take the optimizer steps of the chunk.

        Raises:
            RunFailedError: the loss is not finite.
        """
        assert self.batches is not None
        settings, steps_an_epoch = self.config.optimizer, self.batches.steps
        first = self.current_epoch * steps_an_epoch + chunk.first_step
        steps = self.config.trainer.epochs * steps_an_epoch
        rates = [
            settings.learning_rate * learning_rate_factor(settings.schedule, number, steps, steps_an_epoch)
            for number in range(first, first + chunk.step_count)
        ]
        self._learning_rate = rates[-1]
        total, seen = self._steps.train(chunk, rates, self.manual_backward)
        if not torch.isfinite(total):
            raise RunFailedError(
                f"the loss is not finite in epoch {self.current_epoch + 1}; lower optimizer.learning_rate"
                f" (it is {self.config.optimizer.learning_rate:g})"
            )
        self.train_loss.update(total / len(chunk.labels), weight=len(chunk.labels))
        self.train_accuracy.update(seen, chunk.labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Sum loss (without label smoothing) and accuracy over the validation part."""
        images, labels = batch
        logits, loss = self._steps.read(images, labels)
        self.validation_loss.update(loss, weight=len(labels))
        self.validation_accuracy.update(logits, labels)

    @property
    def is_stopped_early(self) -> bool:
        """Whether the history says to end training, by the config's rule; a resumed run comes to the same epoch."""
        rule = self.config.trainer.early_stopping
        if rule.patience is None:
            return False
        best, waited = math.inf, 0
        for row in self.history:
            lower = row["val/error"] < best - rule.min_delta
            best, waited = (row["val/error"], 0) if lower else (best, waited + 1)
        return waited >= rule.patience

    def close_epoch(self) -> None:
        """Add the epoch's row to the history and clear the sums."""
        assert self.batches is not None
        row: HistoryRow = {"epoch": self.current_epoch + 1}
        row |= _measures("train", self.train_loss, self.train_accuracy)
        if self.validation is not None:
            row |= _measures("val", self.validation_loss, self.validation_accuracy)
        seconds = time.monotonic() - self._began
        row |= {
            "learning_rate": self._learning_rate,
            "seconds": seconds,
            "images_per_second": self.batches.images / seconds,
        }
        self.history.append(row)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep all that training goes on from in the checkpoint, so that one file is the whole state."""
        checkpoint["history"] = self.history
        checkpoint["steps"] = self._steps.state
        checkpoint["generators"] = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` kept.

        Raises:
            DamagedError: the checkpoint is of another network, or not of one.
        """
        own, found = (self.state_dict(), self._steps.state), (checkpoint.get("state_dict"), checkpoint.get("steps"))
        is_ours = [*map(_form, found)] == [*map(_form, own)]
        if not is_ours or not {"history", "generators"} <= set(checkpoint):
            raise DamagedError(
                "the newest checkpoint is not of this network; delete the run's checkpoints to begin anew"
            )
        self._steps.state = checkpoint["steps"]
        self.history = checkpoint["history"]
        cpu, *gpus = checkpoint["generators"]
        torch.set_rng_state(cpu.cpu())
        for number, state in enumerate(gpus[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state.cpu(), number)


def _form(state: Any) -> dict[str, Any] | None:
    """Return the shapes of tensors by name, and the types of what is none."""
    return {k: getattr(v, "shape", type(v)) for k, v in state.items()} if isinstance(state, Mapping) else None


def _measures(part: str, loss: MeanMetric, accuracy: MulticlassAccuracy) -> HistoryRow:
    error = round(100.0 * (1.0 - float(accuracy.compute())), ERROR_DECIMALS)
    row = {f"{part}/loss": float(loss.compute()), f"{part}/error": error}
    loss.reset()
    accuracy.reset()
    return row
