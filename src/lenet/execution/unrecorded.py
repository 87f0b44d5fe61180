"""Train in a temporary folder: neither the run directories nor MLflow know of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lenet.config.schema import Config
from lenet.core.atomic_io import read_json, sha256_file


def train_unrecorded(config: Config, prepared: Path) -> tuple[str, list[dict[str, float]]]:
    """Train a run, and return the sha256 of its weights file and its history, one row an epoch; raises as `fit`."""
    from lenet.training.fit import HISTORY, WEIGHTS, fit

    with tempfile.TemporaryDirectory(prefix="lenet-") as name:
        folder = Path(name)
        fit(config, prepared, folder, lambda: None)
        return sha256_file(folder / WEIGHTS), read_json(folder / HISTORY)["epochs"]
