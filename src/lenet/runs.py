"""The run folder: a run's identity, its lock, its state, and how asking for it is answered.

runs/<fingerprint>/
    run.json              what was asked: name, config, data, code, sweeps
    config.yaml           the same config, to read and to train again
    status.json           RUNNING, FINISHED, FAILED or KILLED; the attempts; once FINISHED, the files' digests
    history.json          one row an epoch
    checkpoints/          while it is not finished
    weights.safetensors   the trained network with its normalisation
    validation.npz        logits of the validation images
    plots/                pictures, which can be drawn again
    lock                  held by the process that trains
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lenet import environment
from lenet.config import Config, parse_config
from lenet.durable import TEMPORARY_SUFFIX, check_digest, read_json, sha256_file, write_json, write_text
from lenet.errors import DamagedError, LenetError, RunFailedError, Stopped
from lenet.fingerprint import code_digest, fingerprint
from lenet.locks import is_held, locked
from lenet.project import Project

SHORT = 12
"""Digits of a fingerprint that people see."""

RUNNING, FINISHED, FAILED, KILLED, DAMAGED = "RUNNING", "FINISHED", "FAILED", "KILLED", "DAMAGED"
RESULTS = ("weights.safetensors", "validation.npz", "history.json")
HEADLINE = ("val/error", "val/loss", "train/error", "train/loss")


@dataclass(frozen=True)
class Origin:
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
class Outcome:
    """The answer to a question for a run.

    Attributes:
        folder: the run.
        answer: `trained`, `resumed at epoch …`, `already trained`, or `failed: …`.
    """

    folder: RunFolder
    answer: str


@dataclass(frozen=True)
class RunFolder:
    """A run's home and the truth about it."""

    path: Path
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", self.path.name)

    @property
    def short(self) -> str:
        """The start of the fingerprint, for people."""
        return self.fingerprint[:SHORT]

    @property
    def lock(self) -> Path:
        """Held by whoever trains the run."""
        return self.path / "lock"

    def identity(self) -> dict[str, Any]:
        """Return what was asked for (run.json)."""
        return read_json(self.path / "run.json")

    def config(self) -> Config:
        """Return the run's config."""
        return parse_config(self.identity()["config"])

    def status(self) -> dict[str, Any]:
        """Return state, attempts and digests (status.json); a new run has no attempts."""
        try:
            return read_json(self.path / "status.json")
        except FileNotFoundError:
            return {"state": None, "message": "", "attempts": [], "files": {}}

    def state(self) -> str | None:
        """Return the state as it is now: a RUNNING run whose process is gone was KILLED."""
        try:
            state = self.status()["state"]
        except DamagedError:
            return DAMAGED
        return KILLED if state == RUNNING and not is_held(self.lock) else state

    def history(self) -> list[dict[str, float]]:
        """Return one row an epoch, of the epochs whose state is safe."""
        try:
            rows: list[dict[str, float]] = read_json(self.path / "history.json")["epochs"]
        except FileNotFoundError:
            return []
        return rows

    def headline(self) -> dict[str, float]:
        """Return the last epoch's measures."""
        rows = self.history()
        return {name: rows[-1][name] for name in HEADLINE if rows and name in rows[-1]}

    def check(self) -> None:
        """Compare a finished run's files with their digests.

        Raises:
            DamagedError: a file is missing or differs.
        """
        for name, digest in self.status()["files"].items():
            check_digest(self.path / name, digest, "ask for the run again to have it trained anew")


def locate(project: Project, config: Config, data_digest: str) -> RunFolder:
    """Return the folder of the run that `config` describes, whether it exists or not."""
    return RunFolder(project.runs / fingerprint(config, data_digest))


def all_runs(project: Project) -> list[RunFolder]:
    """Return every run folder, oldest first."""
    if not project.runs.is_dir():
        return []
    folders = [path for path in project.runs.iterdir() if (path / "run.json").is_file()]
    return [
        RunFolder(path) for path in sorted(folders, key=lambda path: ((path / "config.yaml").stat().st_mtime, path))
    ]


def find_run(project: Project, start: str) -> RunFolder:
    """Return the run whose fingerprint begins with `start`.

    Raises:
        LenetError: there is none, or more than one.
    """
    found = [folder for folder in all_runs(project) if folder.fingerprint.startswith(start)] if start else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise LenetError(f"{start}: no run's fingerprint begins so; `lenet runs` lists them")
    raise LenetError(f"{start}: {len(found)} runs' fingerprints begin so ({', '.join(run.short for run in found[:5])})")


def ask(
    project: Project,
    config: Config,
    data_digest: str,
    origin: Origin,
    on_change: Callable[[RunFolder], None],
    say: Callable[[str], None],
) -> Outcome:
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
        Stopped: a signal ended it.
    """
    folder = locate(project, config, data_digest)
    with locked(folder.lock, lambda holder: say(f"{folder.short}: process {holder} is at this run; waiting for it")):
        if _is_answered(folder, say):
            if _remember(folder, config, data_digest, origin):
                on_change(folder)
            return Outcome(folder, "already trained")
        _remember(folder, config, data_digest, origin)
        return _train(project, folder, config, on_change, say)


def _is_answered(folder: RunFolder, say: Callable[[str], None]) -> bool:
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
        _forget_results(folder)
        return False
    return True


def _forget_results(folder: RunFolder) -> None:
    for name in ("status.json", *RESULTS):
        (folder.path / name).unlink(missing_ok=True)


def _remember(folder: RunFolder, config: Config, data_digest: str, origin: Origin) -> bool:
    """Write down what was asked; say whether it says anything new."""
    body: dict[str, Any] = {
        "name": origin.name,
        "fingerprint": folder.fingerprint,
        "config": config.tree(),
        "data_digest": data_digest,
        "code_digest": code_digest(),
        "overrides": list(origin.overrides),
        "sweeps": [],
    }
    try:
        body = read_json(folder.path / "run.json")
    except (FileNotFoundError, DamagedError):
        text = yaml.safe_dump(config.tree(), sort_keys=False, allow_unicode=True)
        write_text(folder.path / "config.yaml", f"# lenet train {folder.path.name}/config.yaml\n{text}")
        write_json(folder.path / "run.json", body)
    if origin.sweep is None or origin.sweep in body["sweeps"]:
        return False
    write_json(folder.path / "run.json", body | {"sweeps": [*body["sweeps"], origin.sweep]})
    return True


def _train(
    project: Project,
    folder: RunFolder,
    config: Config,
    on_change: Callable[[RunFolder], None],
    say: Callable[[str], None],
) -> Outcome:
    from lenet.training.devices import choose_accelerator
    from lenet.training.fit import CHECKPOINTS, fit

    for partial in folder.path.rglob(f"*{TEMPORARY_SUFFIX}"):  # of a process that was killed while it wrote
        partial.unlink(missing_ok=True)
    accelerator = choose_accelerator(config)
    done = len(_known_history(folder))
    with _attempt(project, folder, accelerator, done, on_change):
        fit(config, project.prepared(config.data.name), folder.path, lambda: on_change(folder), say)
    shutil.rmtree(folder.path / CHECKPOINTS, ignore_errors=True)
    return Outcome(folder, f"resumed after epoch {done}" if done else "trained")


def _known_history(folder: RunFolder) -> list[dict[str, float]]:
    try:
        return folder.history()
    except DamagedError:  # it is written again from the checkpoint
        return []


@contextmanager
def _attempt(
    project: Project, folder: RunFolder, accelerator: str, done: int, on_change: Callable[[RunFolder], None]
) -> Iterator[None]:
    """Keep status.json true to what happens within the block, however it ends."""
    attempt: dict[str, Any] = {
        "started": time.time(),
        "ended": None,
        "after_epoch": done,
        "device": environment.device_name(accelerator),
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
        write_json(folder.path / "status.json", body)
        on_change(folder)

    write(RUNNING)
    try:
        yield
    except (Stopped, KeyboardInterrupt) as stop:
        attempt["ended"] = time.time()
        write(KILLED, str(stop) or "interrupted")
        raise
    except RunFailedError as error:
        attempt["ended"] = time.time()
        shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)  # nothing that could be promoted
        write(FAILED, str(error), final=True)
        raise
    except BaseException as error:
        attempt["ended"] = time.time()
        write(FAILED, f"{type(error).__name__}: {error}")
        raise
    attempt["ended"] = time.time()
    files = {name: sha256_file(folder.path / name) for name in RESULTS if (folder.path / name).is_file()}
    write(FINISHED, files=files)
