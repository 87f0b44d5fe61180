"""A progress bar on a terminal; silent elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lenet.config.schema import Config
from lenet.training.lightning import Callback, lightning


class EpochBar(Callback):
    """One bar a run: epochs done, the last validation error, the time left."""

    def __init__(self, config: Config) -> None:
        shown = config.trainer.progress and sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[measure]}"),
            console=Console(stderr=True),
            transient=True,
            disable=not shown,
        )
        label = f"{config.name} seed {config.seed}"
        self._task = self._progress.add_task(label, total=config.trainer.epochs, measure="")

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Show the bar, at the epoch that training starts from."""
        self._progress.update(self._task, completed=trainer.current_epoch)
        self._progress.start()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Advance by one epoch."""
        row = module.history[-1]
        measure = f"val/error {row['val/error']:.2f} %" if "val/error" in row else f"train/loss {row['train/loss']:.4f}"
        self._progress.update(self._task, advance=1, measure=measure)

    def teardown(self, trainer: lightning.Trainer, module: lightning.LightningModule, stage: str) -> None:
        """Take the bar away, however training ended."""
        self._progress.stop()

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Take the bar away before an error is shown."""
        self._progress.stop()
