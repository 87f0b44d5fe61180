"""A stopwatch that Lightning itself hangs into every Trainer of a process, so that nothing measured has to be changed.

Lightning loads callbacks from entry points of the group `pytorch_lightning.callbacks_factory`. `attached` writes such
an entry point into a folder on the PYTHONPATH of the process to be measured, which then tells when its first epoch
began and when each of them ended.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback

from lenet.core.errors import LenetError

FILE_VARIABLE = "LENET_BENCHMARK_FILE"
GROUP = "pytorch_lightning.callbacks_factory"


@dataclass
class Times:
    """When the epochs of a training began and ended, in seconds since 1970.

    Attributes:
        began: the first epoch's first hook.
        epochs: the end of each epoch, its validation included.
        ended: the end of training, after the last epoch's logging and checkpoint.
    """

    began: float = 0.0
    epochs: list[float] = field(default_factory=list)
    ended: float = 0.0


class Stopwatch(Callback):
    """Writes the Times of a training."""

    def __init__(self) -> None:
        self._times = Times()

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Start at the first epoch."""
        self._times.began = self._times.began or time.time()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Note the epoch's end."""
        self._times.epochs.append(time.time())

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Stop, and write it down."""
        self._times.ended = time.time()
        Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(asdict(self._times)))


def stopwatch() -> list[Callback]:
    """Return what Lightning adds to a Trainer."""
    return [Stopwatch()] if FILE_VARIABLE in os.environ else []


def attached(folder: Path) -> tuple[dict[str, str], Path]:
    """Return the environment in which a process is measured, and the file that tells what was."""
    metadata = folder / "lenet_stopwatch-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lenet-stopwatch\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nlenet_stopwatch = probe:stopwatch\n")
    file = folder / "stopwatch.json"
    here = Path(__file__).resolve().parent
    path = os.pathsep.join([str(folder), str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, FILE_VARIABLE: str(file)}, file


def read(file: Path, epochs: int) -> Times:
    """Return when the `epochs` epochs of a process began and ended.

    Raises:
        LenetError: the process trained something else, or not at all.
    """
    try:
        times = Times(**json.loads(file.read_text()))
    except FileNotFoundError as error:
        raise LenetError(f"{file}: is missing: the measured process trained nothing") from error
    if len(times.epochs) != epochs:
        raise LenetError(f"the measured process trained {len(times.epochs)} epochs, {epochs} were asked for")
    return times
