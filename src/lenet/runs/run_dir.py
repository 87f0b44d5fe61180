"""The run directory: a run's identity, its lock, its state and its results.

Each JSON file carries the run's fingerprint within its seal: one that lies in another run's folder is refused.

runs/<fingerprint>/
    run.json              the request: name, config, data, code, sweeps
    config.yaml           the same config, to read and to train again
    status.json           RUNNING, FINISHED, FAILED, KILLED or PRUNED; the attempts; once FINISHED, the files' digests
    history.json          one row an epoch
    checkpoints/          while it is not finished
    weights.safetensors   the trained network with its normalisation
    validation.npz        logits of the validation images
    plots/                pictures, which can be drawn again
    lock                  held by the process that trains
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lenet.config.schema import Config, identity_of, parse_config
from lenet.core.atomic_io import Shape, check_digest, read_json, sha256_bytes, write_json, write_text
from lenet.core.errors import ConfigError, DamagedError, LenetError, UnreadableError
from lenet.core.file_lock import is_held
from lenet.core.project import Project
from lenet.kernels.choice import FUSED
from lenet.runs.fingerprint import digest_identity, fingerprint

SHORT = 12
"""Digits of a fingerprint that people see."""

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
PRUNED = "PRUNED"
"""Ended early by a search; it goes on when it is requested again."""

DAMAGED = "DAMAGED"
RESULTS = ("weights.safetensors", "validation.npz", "history.json")
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
TRACKING = "tracking"
"""Key of run.json and search.json: the store and the experiment that were requested last, as the config has them."""

OWNER = "fingerprint"
"""Key of a run's files that says whose they are."""

AGAIN = "repeat the command that trained the run"
NULL = type(None)
IDENTITY_SHAPE: Shape = {
    "name": str,
    "config": {
        "name": str,
        "seed": int,
        "data": {"name": str},
        "trainer": dict,
        "tracking": {"uri": (str, NULL), "experiment": str},
    },
    "config_sha256": str,
    "data_digest": str,
    "code_digest": str,
    "overrides": [str],
    "sweeps": [str],
}
ATTEMPT_SHAPE: Shape = {
    "started": float,
    "ended": (float, NULL),
    "device": str,
    "host": str,
    "user": str,
    "git": {"commit": (str, NULL), "dirty": (bool, NULL)},
    "versions": {str: str},
}
STATUS_SHAPE: Shape = {"state": str, "message": str, "attempts": [ATTEMPT_SHAPE], "files": {str: str}}
HISTORY_SHAPE: Shape = {"epochs": [{str: float}]}
HEADLINE = ("val/error", "val/loss", "train/error", "train/loss")


@dataclass(frozen=True)
class RunDir:
    """A run's directory, which is authoritative: MLflow is a copy of it."""

    path: Path
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", self.path.name)

    @property
    def home(self) -> Path:
        """The home that the run lies in."""
        return self.path.parents[1]

    @property
    def short(self) -> str:
        """The start of the fingerprint, for people."""
        return self.fingerprint[:SHORT]

    @property
    def lock(self) -> Path:
        """Held by the process that trains the run."""
        return self.path / "lock"

    def read(self, name: str, shape: Shape) -> dict[str, Any]:
        """Read one of the run's JSON files.

        Raises:
            DamagedError: it is damaged, or another run's.
            FileNotFoundError: there is no such file.
        """
        return read_json(self.path / name, shape, {OWNER: self.fingerprint})

    def write(self, name: str, body: dict[str, Any]) -> None:
        """Write one of the run's JSON files, with the run's fingerprint in it."""
        write_json(self.path / name, body | {OWNER: self.fingerprint})

    def write_identity(self, body: dict[str, Any]) -> dict[str, Any]:
        """Write run.json, and its config once more as config.yaml; return what run.json says now."""
        tree = yaml.safe_dump(body["config"], sort_keys=False, allow_unicode=True)
        text = f"# the config in run.json, to be read\n{tree}"
        write_text(self.path / "config.yaml", text)
        self.write("run.json", body | {"config_sha256": sha256_bytes(text.encode())})
        return self.identity()

    def identity(self) -> dict[str, Any]:
        """Return the request for the run (run.json).

        Raises:
            DamagedError: the file is damaged, or its config, data and code are not those of the fingerprint.
        """
        body = self.read("run.json", IDENTITY_SHAPE)
        found = digest_identity(identity_of(body["config"]), body["data_digest"], body["code_digest"])
        if found != self.fingerprint:
            raise DamagedError(f"{self.path / 'run.json'}: describes run {found[:SHORT]}, another than this; {AGAIN}")
        return body

    def config(self) -> Config:
        """Return the run's config.

        Raises:
            DamagedError: it is not one that this version knows.
        """
        try:
            return parse_config(self.identity()["config"])
        except ConfigError as error:
            raise DamagedError(f"{self.path / 'run.json'}: was written by another version of lenet: {error}") from error

    def check_config(self) -> None:
        """Compare config.yaml, which people read, with run.json, which programs do.

        Raises:
            DamagedError: it is missing or differs.
        """
        check_digest(self.path / "config.yaml", self.identity()["config_sha256"], AGAIN)

    def status(self) -> dict[str, Any]:
        """Return state, attempts and digests (status.json); a new run has no attempts."""
        try:
            return self.read("status.json", STATUS_SHAPE)
        except FileNotFoundError:
            return {"state": None, "message": "", "attempts": [], "files": {}}

    def trained_by(self) -> str:
        """Return what did the arithmetic: the fused kernel, or torch with a number of threads."""
        kernels = {attempt.get("kernel", "").partition(" ")[0] for attempt in self.status()["attempts"]}
        if kernels == {FUSED}:
            return "the fused kernel"
        counts = self.threads()
        return f"torch with {' and '.join(map(str, counts))} thread{'s' * (counts != (1,))}" if counts else "torch"

    def threads(self) -> tuple[int, ...]:
        """Return the numbers of CPU threads that the attempts trained with, each once: sums depend on it to the bit."""
        counts = [attempt["threads"] for attempt in self.status()["attempts"] if "threads" in attempt]
        return tuple(dict.fromkeys(counts))

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
            rows: list[dict[str, float]] = self.read("history.json", HISTORY_SHAPE)["epochs"]
        except FileNotFoundError:
            return []
        return rows

    def headline(self) -> dict[str, float]:
        """Return the last epoch's measures."""
        rows = self.history()
        return {name: rows[-1][name] for name in HEADLINE if rows and name in rows[-1]}

    def check_readable(self) -> None:
        """See that what the run says of itself can be read, damaged or not: what may be whole is not made anew.

        Raises:
            UnreadableError: one of its files cannot be read now.
        """
        for read in (self.identity, self.status, self.history):
            try:
                read()
            except UnreadableError:
                raise
            except (FileNotFoundError, DamagedError):
                continue

    def check(self) -> None:
        """Compare a finished run's files with their digests.

        Raises:
            DamagedError: a file is missing or differs.
        """
        for name, digest in self.status()["files"].items():
            check_digest(self.path / name, digest, "repeat the command that trained the run")


def run_dir_for(project: Project, config: Config, data_digest: str) -> RunDir:
    """Return the folder of the run that `config` describes, whether it exists or not."""
    return RunDir(project.runs / fingerprint(config, data_digest))


def all_runs(project: Project) -> list[RunDir]:
    """Return every run folder, oldest first."""
    if not project.runs.is_dir():
        return []
    named = [path for path in project.runs.iterdir() if FINGERPRINT.fullmatch(path.name)]
    folders = [path for path in named if (path / "run.json").is_file()]
    return [RunDir(path) for path in sorted(folders, key=lambda path: (_begun(path), path))]


def _begun(path: Path) -> float:
    try:
        return (path / "config.yaml").stat().st_mtime
    except FileNotFoundError:  # damaged, or being deleted
        return 0.0


def find_run(project: Project, start: str) -> RunDir:
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
