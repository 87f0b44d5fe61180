"""The network of the default variant, trained the way the common Lightning templates do it.

The other side of `throughput.py` and `sweep.py`, which run `python benchmarks/template.py FOLDER RUNS [OVERRIDE …]`:
Lightning's Trainer with a CSV logger, a rich progress bar, a model summary and ModelCheckpoint; a LightningModule that
updates torchmetrics and calls `self.log` each step; a DataLoader over a Dataset whose transforms work on one image at a
time, shuffled, without workers (on few cores workers are slower at this batch size). Network, data, split, batch size,
optimizer, schedule, label smoothing, distortion and seed are those of `python train.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichModelSummary, RichProgressBar
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from lenet.config.compose import compose
from lenet.config.schema import AdamConfig, Config
from lenet.core.project import Project, find_project
from lenet.data.arrays import load_training, read_card
from lenet.data.split import split
from lenet.models.classifier import build_classifier
from lenet.training.optimizers import learning_rate_factor

BYTE_SCALE = 255.0
PAD = 2
ROOT = Path(__file__).resolve().parents[1]
ERRORS = "val_errors.json"


class Digits(Dataset[tuple[Tensor, int]]):
    """Digits, made into tensors one at a time: scaled, padded to 32×32, shifted where they train, normalised."""

    def __init__(self, images: NDArray[Any], labels: NDArray[Any], mean: float, deviation: float, shift: int) -> None:
        self.images, self.labels = images, labels
        self.mean, self.deviation, self.shift = mean, deviation, shift

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image [1, 32, 32] and its class."""
        image = torch.from_numpy(self.images[index]).float().div(BYTE_SCALE)
        image = functional.pad(image, (PAD + self.shift,) * 4)
        if self.shift:  # the random crop of the image libraries
            top, left = torch.randint(0, 2 * self.shift + 1, (2,)).tolist()
            image = image[:, top : top + 32, left : left + 32]
        return image.sub(self.mean).div(self.deviation), int(self.labels[index])


class TemplateModule(lightning.LightningModule):
    """A LightningModule as the templates write it."""

    def __init__(self, config: Config, steps_an_epoch: int) -> None:
        super().__init__()
        self.config, self.steps_an_epoch = config, steps_an_epoch
        self.net = build_classifier(config).network
        classes = len(config.data.classes)
        self.train_loss, self.val_loss = MeanMetric(), MeanMetric()
        self.train_acc = MulticlassAccuracy(classes, average="micro")
        self.val_acc = MulticlassAccuracy(classes, average="micro")
        self.val_acc_best = MaxMetric()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Take one batch."""
        images, labels = batch
        logits = self.net(images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.config.optimizer.label_smoothing)
        self.train_loss(loss)
        self.train_acc(logits, labels)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Measure one batch."""
        images, labels = batch
        logits = self.net(images)
        self.val_loss(functional.cross_entropy(logits, labels))
        self.val_acc(logits, labels)
        self.log("val/loss", self.val_loss, on_step=False, on_epoch=True, prog_bar=True)
        self.log("val/acc", self.val_acc, on_step=False, on_epoch=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Keep the best accuracy."""
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), prog_bar=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the config's optimizer and its schedule, by the step."""
        settings, steps = self.config.optimizer, self.config.trainer.epochs * self.steps_an_epoch
        assert isinstance(settings, AdamConfig)  # what train.py trains unless it is told otherwise
        optimizer = torch.optim.Adam(
            self.net.parameters(),
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            weight_decay=settings.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(settings.schedule, step, steps, self.steps_an_epoch)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def loaders(project: Project, config: Config) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return the training and the validation images in batches of the config's size."""
    prepared = project.prepared(config.data.name)
    arrays, card = load_training(prepared), read_card(prepared)
    train, held_out = split(arrays.order, config.data.train_size, config.data.validation_size)
    seen = Digits(
        arrays.images[train],
        arrays.labels[train],
        card["mean"][0],
        card["deviation"][0],
        shift=config.augmentation.shift,
    )
    unseen = Digits(arrays.images[held_out], arrays.labels[held_out], card["mean"][0], card["deviation"][0], shift=0)
    size = config.trainer.batch_size
    return (
        DataLoader(seen, batch_size=size, shuffle=True, num_workers=0),
        DataLoader(unseen, batch_size=size, num_workers=0),
    )


class ValidationErrors(Callback):
    """Writes the validation error in percent of each epoch."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.errors: list[float] = []

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Add the epoch, whose validation is over."""
        self.errors.append(100 * (1 - float(trainer.callback_metrics["val/acc"])))
        self.file.write_text(json.dumps(self.errors))


def main(folder: Path, runs: int, overrides: list[str]) -> None:
    """Train runs with the seeds 1, 2, …, one after the other as Hydra's basic launcher does."""
    for seed in range(1, runs + 1):
        train(folder, [f"seed={seed}", *overrides])


def train(folder: Path, overrides: list[str]) -> None:
    """Train one run of the config with these overrides, and write its epochs."""
    project = find_project(ROOT)
    config = compose(project, overrides)
    lightning.seed_everything(config.seed)
    seen, unseen = loaders(project, config)
    trainer = lightning.Trainer(
        default_root_dir=folder,
        max_epochs=config.trainer.epochs,
        logger=CSVLogger(folder),
        callbacks=[
            ModelCheckpoint(folder / "checkpoints", monitor="val/acc", mode="max", save_last=True),
            RichModelSummary(max_depth=-1),
            RichProgressBar(),
            ValidationErrors(folder / ERRORS),
        ],
        accelerator=config.trainer.accelerator,
        devices=1,
    )
    trainer.fit(TemplateModule(config, len(seen)), seen, unseen)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
