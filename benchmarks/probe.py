"""A stopwatch that Lightning itself hangs into every Trainer of a process, so that nothing measured has to be changed.

Lightning loads callbacks from entry points of the group `pytorch_lightning.callbacks_factory`. `attached` writes such
an entry point into a folder on the PYTHONPATH of the process to be measured, which then tells how long it was from
the beginning of its first epoch to the end of its last.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import Callback

from lenet.core.errors import LenetError

FILE_VARIABLE = "LENET_BENCHMARK_FILE"
GROUP = "pytorch_lightning.callbacks_factory"


class Stopwatch(Callback):
    """Writes `epochs` and `seconds`: from the first epoch's first hook to the end of training.

    The end comes after the last epoch's validation, logging and checkpoint.
    """

    def __init__(self) -> None:
        self._began: float | None = None

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Start at the first epoch."""
        if self._began is None:
            self._began = time.perf_counter()

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Stop, and write it down."""
        assert self._began is not None
        seconds = time.perf_counter() - self._began
        body = {"epochs": trainer.max_epochs, "seconds": seconds}
        Path(os.environ[FILE_VARIABLE]).write_text(json.dumps(body))


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


def read(file: Path, epochs: int) -> float:
    """Return the seconds that `epochs` epochs took.

    Raises:
        LenetError: the process trained something else, or not at all.
    """
    try:
        body = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise LenetError(f"{file}: is missing: the measured process trained nothing") from error
    if body["epochs"] != epochs:
        raise LenetError(f"the measured process trained {body['epochs']} epochs, {epochs} were asked for")
    return float(body["seconds"])
