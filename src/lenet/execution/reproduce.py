"""`lenet replay`: train a run again elsewhere, and say whether the weights are the same, bit for bit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lenet.config.schema import Config
from lenet.core.atomic_io import sha256_file
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.data.datasets import ensure_prepared
from lenet.runs.fingerprint import code_digest
from lenet.runs.run_dir import FINISHED, RunDir


def replay(project: Project, folder: RunDir, tell: Callable[[str], None]) -> None:
    """Train a finished run again in a temporary folder, with its number of threads, and compare the weights.

    Raises:
        LenetError: the run is not finished, its data is another now, or the weights differ.
    """
    if folder.state() != FINISHED:
        raise LenetError(f"{folder.short}: is {folder.state()}, only a finished run can be replayed")
    folder.check()
    config, identity, status = folder.config(), folder.identity(), folder.status()
    prepared = ensure_prepared(project, config.data.name, tell)
    if training_digest(prepared) != identity["data_digest"]:
        raise LenetError(f"{folder.short}: was trained on other data than {prepared} holds now; nothing to compare")
    if code_digest(config.model.name) != identity["code_digest"]:
        tell(f"{folder.short}: the code that trains has changed since; the weights may differ")
    recorded = status["files"]["weights.safetensors"]
    found = _train_again(as_trained(folder), prepared, tell)
    if found != recorded:
        last = status["attempts"][-1]
        raise LenetError(
            f"{folder.short}: the weights differ ({recorded[:12]}… then, {found[:12]}… now); it was trained on"
            f" {last['device']} with {_threads(folder.threads())} and torch {last['versions']['torch']}"
        )
    print(f"{folder.short}: the same weights, bit for bit (sha256 {recorded[:12]}…)")


def as_trained(folder: RunDir) -> Config:
    """Return a run's config with the number of CPU threads that it was last trained with, where that is on record."""
    config, counts = folder.config(), folder.threads()
    return replace(config, trainer=replace(config.trainer, threads=counts[-1])) if counts else config


def _threads(counts: tuple[int, ...]) -> str:
    if not counts:
        return "a number of threads that is not on record"
    told = f"{counts[-1]} thread{'s' * (counts[-1] != 1)}, as now"
    return told if len(counts) == 1 else f"{' and '.join(map(str, counts[:-1]))} and in the end {told}"


def _train_again(config: Config, prepared: Path, tell: Callable[[str], None]) -> str:
    from lenet.training.fit import WEIGHTS, fit

    with tempfile.TemporaryDirectory(prefix="lenet-replay-") as folder:
        fit(config, prepared, Path(folder), lambda: None, tell)
        return sha256_file(Path(folder) / WEIGHTS)
