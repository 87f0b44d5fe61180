"""Return a run's stored result, or train it, going on from its newest checkpoint."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lenet.config.schema import Config, TrainerConfig
from lenet.core.atomic_io import refuse_links, remove, remove_half_written, sha256_file
from lenet.core.errors import DamagedError, RunFailedError, RunPruned, Stopped
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.kernels.choice import resolve_kernel
from lenet.kernels.library import trained_by
from lenet.runs import run_environment
from lenet.runs.fingerprint import code_digest
from lenet.runs.run_dir import FAILED, FINISHED, KILLED, PRUNED, RESULTS, RUNNING, TRACKING, RunDir, run_dir_for

logger = logging.getLogger(__name__)

OnChange = Callable[[RunDir], None]


@dataclass(frozen=True)
class RunMetadata:
    """What is recorded of a request for a run and changes nothing of it.

    Attributes:
        name: what people call the run: the variant and what differs from it.
        sweep: the sweep, search or pipeline that the run is part of, or None.
        overrides: what the user typed.
    """

    name: str
    sweep: str | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """The result of `get_or_train`.

    Attributes:
        run_dir: the run.
        outcome: `trained`, `resumed after epoch …`, `already trained`, or `failed: …`.
    """

    run_dir: RunDir
    outcome: str

    @property
    def is_failed(self) -> bool:
        """Whether the training failed for a reason of its own."""
        return self.outcome.startswith("failed")


def ignore_change(run_dir: RunDir) -> None:
    """Do nothing: the callback of who does not follow a training."""


def get_or_train(
    project: Project, config: Config, data_digest: str, metadata: RunMetadata, on_change: OnChange = ignore_change
) -> RunResult:
    """Return the run's stored result where it is finished, otherwise train what is missing.

    Args:
        project: its home holds the runs.
        config: the run.
        data_digest: digest of the prepared training data.
        metadata: recorded with the run.
        on_change: called whenever the run directory holds something new.

    Raises:
        RunFailedError: the training failed, now or before, for a reason of its own.
        RunPruned: `on_change` ended it early; what is trained is kept.
        UnreadableError: one of its files cannot be read now; all are left as they are.
        Stopped: a signal ended it.
    """
    config = resolve_kernel(config)
    run_dir = run_dir_for(project, config, data_digest)

    def report_wait(holder: str) -> None:
        logger.info(f"{run_dir.short}: waiting for process {holder}, which trains this run")

    with locked(run_dir.lock, report_wait):
        remove_half_written(run_dir.path)
        run_dir.check_readable()
        if _is_finished(project, run_dir):
            if _record_request(run_dir, config, data_digest, metadata):
                on_change(run_dir)
            return RunResult(run_dir, "already trained")
        _record_request(run_dir, config, data_digest, metadata)
        return _train(project, run_dir, config, on_change)


def mark_pruned(run_dir: RunDir, message: str) -> None:
    """Record that a run which was killed or interrupted will not go on; one that ended keeps its state."""
    with locked(run_dir.lock):
        status = run_dir.status()
        if status["state"] in {RUNNING, KILLED}:
            run_dir.write("status.json", status | {"state": PRUNED, "message": message})


def _is_finished(project: Project, run_dir: RunDir) -> bool:
    """Say whether the run has an undamaged result; remove a damaged one.

    Raises:
        RunFailedError: the run failed before for a reason of its own.
    """
    try:
        status = run_dir.status()
        if status["state"] == FAILED and status.get("final"):
            raise RunFailedError(f"{run_dir.short}: failed before and would again: {status['message']}")
        if status["state"] != FINISHED:
            return False
        run_dir.check()
        run_dir.history()
    except DamagedError as error:
        logger.warning(f"{error}; training it again")
        for name in ("status.json", *RESULTS):
            remove(run_dir.path / name, project.runs)
        return False
    return True


def _record_request(run_dir: RunDir, config: Config, data_digest: str, metadata: RunMetadata) -> bool:
    """Write run.json, or add the sweep and the MLflow destination to it; say whether anything was new."""
    tracking = config.tree()[TRACKING]
    try:
        body = run_dir.identity()
        run_dir.check_config()
    except (FileNotFoundError, DamagedError):
        body = run_dir.write_identity(
            {
                "name": metadata.name,
                "config": config.tree(),
                "data_digest": data_digest,
                "code_digest": code_digest(config.model.name),
                "overrides": list(metadata.overrides),
                "sweeps": [],
                TRACKING: tracking,
            }
        )
    sweeps = list(dict.fromkeys([*body["sweeps"], *filter(None, [metadata.sweep])]))
    requested = body | {"sweeps": sweeps, TRACKING: tracking}
    if requested == body:
        return False
    run_dir.write("run.json", requested)
    return True


def _train(project: Project, run_dir: RunDir, config: Config, on_change: OnChange) -> RunResult:
    from lenet.training.checkpoint import epochs_kept
    from lenet.training.devices import choose_accelerator
    from lenet.training.fit import CHECKPOINTS, fit

    checkpoints = run_dir.path / CHECKPOINTS
    refuse_links(checkpoints, project.runs)  # old ones are deleted as new ones come
    accelerator = choose_accelerator(config)
    done = epochs_kept(checkpoints, run_dir.fingerprint)
    with _attempt(project, run_dir, accelerator, config.trainer, done, on_change):
        prepared = project.prepared(config.data.name)
        fit(config, prepared, run_dir.path, lambda: on_change(run_dir))
    remove(checkpoints, project.runs)
    return RunResult(run_dir, f"resumed after epoch {done}" if done else "trained")


@contextmanager
def _attempt(
    project: Project, run_dir: RunDir, accelerator: str, trainer: TrainerConfig, done: int, on_change: OnChange
) -> Iterator[None]:
    """Keep status.json true to what happens within the block, however it ends."""
    import torch

    attempt: dict[str, Any] = {
        "started": time.time(),
        "ended": None,
        "after_epoch": done,
        "device": run_environment.device_name(accelerator),
        "threads": trainer.threads or torch.get_num_threads(),
        "kernel": trained_by(trainer.kernel),
        "host": platform.node(),
        "pid": os.getpid(),
        "user": run_environment.user(),
        "git": run_environment.git_state(project.root),
        "versions": run_environment.versions(),
    }
    attempts = [*run_dir.status()["attempts"], attempt]

    def write(state: str, message: str = "", **more: Any) -> None:
        body = {"state": state, "message": message, "attempts": attempts, "files": {}} | more
        run_dir.write("status.json", body)
        on_change(run_dir)

    write(RUNNING)
    try:
        yield
    except BaseException as error:
        attempt["ended"] = time.time()
        if isinstance(error, Stopped | KeyboardInterrupt):
            write(KILLED, str(error) or "interrupted")
        elif isinstance(error, RunPruned):
            write(PRUNED, str(error))
        elif isinstance(error, RunFailedError):  # it would fail again
            remove(run_dir.path / "checkpoints", project.runs)  # nothing that could be promoted
            write(FAILED, str(error), final=True)
        else:
            write(FAILED, f"{type(error).__name__}: {error}")
        raise
    attempt["ended"] = time.time()
    files = {name: sha256_file(run_dir.path / name) for name in RESULTS if (run_dir.path / name).is_file()}
    write(FINISHED, files=files)
