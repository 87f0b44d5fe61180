"""The training step: several mini-batches a call, measures summed on the device, one row of history an epoch."""

from __future__ import annotations

import math
import time
from typing import Any, cast

import pytorch_lightning as lightning
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from lenet.config.schema import Config
from lenet.core.errors import DamagedError, RunFailedError
from lenet.data.loader import BatchChunk, EvaluationBatches, TrainingBatches
from lenet.models.classifier import Classifier
from lenet.training.optimizers import build_optimizer, learning_rate_factor

ERROR_DECIMALS = 4
"""Of an error in percent: one image of 60,000 is 0.0017, and torchmetrics' fp32 is good to seven digits."""

HistoryRow = dict[str, float]
"""One epoch: `epoch` counts from 1; `…/error` is percent misread, `…/loss` nats, `seconds` wall time."""


class LenetModule(lightning.LightningModule):
    """Trains a Classifier as the config says.

    Manual optimisation lets one training step hold several mini-batches, which takes away what Lightning costs a step.

    Args:
        config: the run.
        reader: the network with its field.
    """

    def __init__(self, config: Config, reader: Classifier) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config = config
        self.reader = reader
        self.history: list[HistoryRow] = []
        self.batches: TrainingBatches | None = None
        self.validation: EvaluationBatches | None = None
        classes = len(config.data.classes)
        self.train_loss = MeanMetric()
        self.train_accuracy = MulticlassAccuracy(classes, average="micro")
        # Every rank reads the whole validation part, so its measures are never summed over ranks.
        self.validation_loss = MeanMetric(sync_on_compute=False)
        self.validation_accuracy = MulticlassAccuracy(classes, average="micro", sync_on_compute=False)
        self._read: list[Tensor] = []
        self._began = time.monotonic()
        self._learning_rate = config.optimizer.learning_rate

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the config's optimizer; the schedule is a function of the step's number and needs no state."""
        return build_optimizer(self.config.optimizer, self.reader.parameters())

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
        """Take the optimizer steps of the chunk, each on the mean gradient of its mini-batches' images.

        Raises:
            RunFailedError: the loss is not finite.
        """
        assert self.batches is not None
        optimizer = cast(torch.optim.Optimizer, self.optimizers(use_pl_optimizer=False))
        steps_an_epoch = self.batches.steps
        first_step = self.current_epoch * steps_an_epoch
        steps = self.config.trainer.epochs * steps_an_epoch
        smoothing, clip = self.config.optimizer.label_smoothing, self.config.trainer.gradient_clip
        logits_seen, losses = [], []
        for number, batches in chunk.steps():
            factor = learning_rate_factor(self.config.optimizer.schedule, first_step + number, steps, steps_an_epoch)
            self._learning_rate = self.config.optimizer.learning_rate * factor
            for group in optimizer.param_groups:
                group["lr"] = self._learning_rate
            optimizer.zero_grad()
            count = sum(len(labels) for _, labels in batches)
            for images, labels in batches:
                logits = self.reader(images)
                loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
                self.manual_backward(loss if len(batches) == 1 else loss * (len(labels) / count))
                logits_seen.append(logits.detach())
                losses.append(loss.detach() * len(labels))
            if clip is not None:
                nn.utils.clip_grad_norm_(self.reader.parameters(), clip)
            optimizer.step()
        total = torch.stack(losses).sum()
        if not torch.isfinite(total):
            raise RunFailedError(
                f"the loss is not finite in epoch {self.current_epoch + 1}; lower optimizer.learning_rate"
                f" (it is {self.config.optimizer.learning_rate:g})"
            )
        self.train_loss.update(total / len(chunk.labels), weight=len(chunk.labels))
        self.train_accuracy.update(torch.cat(logits_seen), chunk.labels)

    def on_validation_epoch_start(self) -> None:
        """Forget what an earlier epoch's network read."""
        self._read = []

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Sum loss (without label smoothing) and accuracy over the validation part, and keep the logits."""
        images, labels = batch
        logits = self.reader(images)
        self._read.append(logits)
        self.validation_loss.update(functional.cross_entropy(logits, labels), weight=len(labels))
        self.validation_accuracy.update(logits, labels)

    def validation_logits(self) -> Tensor | None:
        """Return the logits [n, classes] of the newest validation, in fp32 on the CPU; None where there was none.

        None as well where the arithmetic was not fp32: what is kept of a run was read as the test set will be.
        """
        if not self._read or self.config.trainer.precision != "fp32":
            return None
        return torch.cat(self._read).float().cpu()

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
        """Keep the history and torch's generators in the checkpoint, so that one file is the whole state."""
        checkpoint["history"] = self.history
        checkpoint["generators"] = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` kept.

        Raises:
            DamagedError: the checkpoint is of another network, or not of one.
        """
        own = {name: tensor.shape for name, tensor in self.state_dict().items()}
        kept = checkpoint.get("state_dict")
        found = {name: getattr(value, "shape", None) for name, value in kept.items()} if isinstance(kept, dict) else {}
        if found != own or not {"history", "generators"} <= set(checkpoint):
            raise DamagedError(
                "the newest checkpoint is not of this network; delete the run's checkpoints to begin anew"
            )
        self.history = checkpoint["history"]
        cpu, *gpus = checkpoint["generators"]
        torch.set_rng_state(cpu.cpu())
        for number, state in enumerate(gpus[: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state.cpu(), number)


def _measures(part: str, loss: MeanMetric, accuracy: MulticlassAccuracy) -> HistoryRow:
    error = round(100.0 * (1.0 - float(accuracy.compute())), ERROR_DECIMALS)
    row = {f"{part}/loss": float(loss.compute()), f"{part}/error": error}
    loss.reset()
    accuracy.reset()
    return row
