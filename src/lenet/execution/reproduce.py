"""`lenet reproduce`: train a run again in a temporary folder and compare the weights, bit for bit."""

from __future__ import annotations

import logging
from dataclasses import replace

from lenet.config.schema import Config
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.data.datasets import ensure_prepared
from lenet.execution.unrecorded import train_unrecorded
from lenet.runs.fingerprint import code_digest
from lenet.runs.run_dir import FINISHED, RunDir

logger = logging.getLogger(__name__)


def reproduce(project: Project, run_dir: RunDir) -> str:
    """Train a finished run again, with its number of threads, and return the weights' sha256, which is the same.

    Raises:
        LenetError: the run is not finished, its data has changed, or the weights differ.
    """
    if run_dir.state() != FINISHED:
        raise LenetError(f"{run_dir.short}: is {run_dir.state()}, only a finished run can be reproduced")
    run_dir.check()
    identity, status = run_dir.identity(), run_dir.status()
    config = as_trained(run_dir)
    prepared = ensure_prepared(project, config.data.name)
    if training_digest(prepared) != identity["data_digest"]:
        raise LenetError(f"{run_dir.short}: was trained on other data than {prepared} holds now; nothing to compare")
    if code_digest(config.model.name) != identity["code_digest"]:
        logger.warning(f"{run_dir.short}: the code that trains has changed since; the weights may differ")
    recorded: str = status["files"]["weights.safetensors"]
    found, _ = train_unrecorded(config, prepared)
    if found != recorded:
        last = status["attempts"][-1]
        raise LenetError(
            f"{run_dir.short}: the weights differ ({recorded[:12]}… then, {found[:12]}… now); it was trained on"
            f" {last['device']} with {_threads(run_dir.threads())} and torch {last['versions']['torch']}"
        )
    return recorded


def as_trained(run_dir: RunDir) -> Config:
    """Return a run's config with the number of CPU threads that it was last trained with, where that is recorded."""
    config, counts = run_dir.config(), run_dir.threads()
    return replace(config, trainer=replace(config.trainer, threads=counts[-1])) if counts else config


def _threads(counts: tuple[int, ...]) -> str:
    if not counts:
        return "a number of threads that is not recorded"
    last = f"{counts[-1]} thread{'s' * (counts[-1] != 1)}, as now"
    return last if len(counts) == 1 else f"{' and '.join(map(str, counts[:-1]))} and in the end {last}"
