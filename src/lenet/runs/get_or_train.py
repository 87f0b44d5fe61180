"""How a question for a run is answered: from its folder where it is finished, otherwise by training what is missing."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lenet.config.schema import Config
from lenet.core.atomic_io import refuse_links, remove, remove_half_written, sha256_file
from lenet.core.errors import DamagedError, RunFailedError, RunPruned, Stopped
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.runs import run_environment as environment
from lenet.runs.fingerprint import code_digest
from lenet.runs.run_dir import FAILED, FINISHED, KILLED, PRUNED, RESULTS, RUNNING, RunDir, run_dir_for
from lenet.tracking.destination import TRACKING, settled


@dataclass(frozen=True)
class RunMetadata:
    """How a run came to be asked for; none of it changes the run.

    Attributes:
        name: what people call the run: the variant and what differs from it.
        sweep: the sweep or pipeline that asked, or None.
        overrides: what the user typed.
    """

    name: str
    sweep: str | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunResult:
    """The answer to a question for a run.

    Attributes:
        folder: the run.
        answer: `trained`, `resumed at epoch …`, `already trained`, or `failed: …`.
    """

    folder: RunDir
    answer: str


def get_or_train(
    project: Project,
    config: Config,
    data_digest: str,
    origin: RunMetadata,
    on_change: Callable[[RunDir], None],
    say: Callable[[str], None],
) -> RunResult:
    """Answer a question for a run: from its folder where it is finished, otherwise by training what is missing.

    Args:
        project: where runs live.
        config: the run.
        data_digest: digest of the prepared training data.
        origin: who asks.
        on_change: called whenever the folder holds something new.
        say: takes a line for the user.

    Raises:
        RunFailedError: the training failed, now or before, for a reason of its own.
        RunPruned: `on_change` ended it early; what is trained is kept.
        UnreadableError: one of its files cannot be read now; all are left as they are.
        Stopped: a signal ended it.
    """
    folder = run_dir_for(project, config, data_digest)
    config = settled(project, folder, config)
    with locked(folder.lock, lambda holder: say(f"{folder.short}: process {holder} is at this run; waiting for it")):
        remove_half_written(folder.path)
        folder.check_readable()
        if _is_answered(project, folder, say):
            if _remember(folder, config, data_digest, origin):
                on_change(folder)
            return RunResult(folder, "already trained")
        _remember(folder, config, data_digest, origin)
        return _train(project, folder, config, on_change, say)


def mark_pruned(folder: RunDir, message: str) -> None:
    """Write down that a run which was killed or interrupted is not gone on with; one that ended stays what it is."""
    with locked(folder.lock):
        status = folder.status()
        if status["state"] in {RUNNING, KILLED}:
            folder.write("status.json", status | {"state": PRUNED, "message": message})


def _is_answered(project: Project, folder: RunDir, say: Callable[[str], None]) -> bool:
    try:
        status = folder.status()
        if status["state"] == FAILED and status.get("final"):
            raise RunFailedError(f"{folder.short}: failed before and would again: {status['message']}")
        if status["state"] != FINISHED:
            return False
        folder.check()
        folder.history()
    except DamagedError as error:
        say(f"{error}; training it again")
        _forget_results(project, folder)
        return False
    return True


def _forget_results(project: Project, folder: RunDir) -> None:
    for name in ("status.json", *RESULTS):
        remove(folder.path / name, project.runs)


def _remember(folder: RunDir, config: Config, data_digest: str, origin: RunMetadata) -> bool:
    """Write down what was asked; say whether it says anything new."""
    body: dict[str, Any] = {
        "name": origin.name,
        "config": config.tree(),
        "data_digest": data_digest,
        "code_digest": code_digest(config.model.name),
        "overrides": list(origin.overrides),
        "sweeps": [],
        TRACKING: config.tree()[TRACKING],
    }
    try:
        body = folder.identity()
        folder.check_config()
    except (FileNotFoundError, DamagedError):
        body = folder.write_identity(body)
    sweeps = list(dict.fromkeys([*body["sweeps"], *filter(None, [origin.sweep])]))
    asked = body | {"sweeps": sweeps, TRACKING: config.tree()[TRACKING]}
    if asked == body:
        return False
    folder.write("run.json", asked)
    return True


def _train(
    project: Project,
    folder: RunDir,
    config: Config,
    on_change: Callable[[RunDir], None],
    say: Callable[[str], None],
) -> RunResult:
    from lenet.training.checkpoint import epochs_kept
    from lenet.training.devices import choose_accelerator
    from lenet.training.fit import CHECKPOINTS, fit

    checkpoints = folder.path / CHECKPOINTS
    refuse_links(checkpoints, project.runs)  # old ones are deleted as new ones come
    accelerator = choose_accelerator(config)
    done = epochs_kept(checkpoints, folder.fingerprint)
    with _attempt(project, folder, accelerator, config.trainer.threads, done, on_change):
        fit(config, project.prepared(config.data.name), folder.path, lambda: on_change(folder), say)
    remove(checkpoints, project.runs)
    return RunResult(folder, f"resumed after epoch {done}" if done else "trained")


@contextmanager
def _attempt(
    project: Project,
    folder: RunDir,
    accelerator: str,
    threads: int,
    done: int,
    on_change: Callable[[RunDir], None],
) -> Iterator[None]:
    """Keep status.json true to what happens within the block, however it ends."""
    import torch

    attempt: dict[str, Any] = {
        "started": time.time(),
        "ended": None,
        "after_epoch": done,
        "device": environment.device_name(accelerator),
        "threads": threads or torch.get_num_threads(),
        "host": platform.node(),
        "pid": os.getpid(),
        "user": environment.user(),
        "git": environment.git_state(project.root),
        "versions": environment.versions(),
    }
    status = folder.status()
    attempts = [*status["attempts"], attempt]

    def write(state: str, message: str = "", **more: Any) -> None:
        body = {"state": state, "message": message, "attempts": attempts, "files": {}} | more
        folder.write("status.json", body)
        on_change(folder)

    write(RUNNING)
    try:
        yield
    except (Stopped, KeyboardInterrupt) as stop:
        attempt["ended"] = time.time()
        write(KILLED, str(stop) or "interrupted")
        raise
    except RunPruned as end:
        attempt["ended"] = time.time()
        write(PRUNED, str(end))
        raise
    except RunFailedError as error:
        attempt["ended"] = time.time()
        remove(folder.path / "checkpoints", project.runs)  # nothing that could be promoted
        write(FAILED, str(error), final=True)
        raise
    except BaseException as error:
        attempt["ended"] = time.time()
        write(FAILED, f"{type(error).__name__}: {error}")
        raise
    attempt["ended"] = time.time()
    files = {name: sha256_file(folder.path / name) for name in RESULTS if (folder.path / name).is_file()}
    write(FINISHED, files=files)
