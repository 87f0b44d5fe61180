"""A run directory in MLflow's terms: parameters, metrics, tags, data sets, artifacts, status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenet.config.validation import flatten
from lenet.core.atomic_io import TEMPORARY_SUFFIX, Shape
from lenet.core.file_lock import is_held
from lenet.runs.run_dir import FAILED, FINISHED, KILLED, PRUNED, RUNNING, RunDir
from lenet.tracking.run_content import DataSet, Desired, Point

FINGERPRINT_TAG = "lenet.fingerprint"
ORIGIN = "search:"
"""In run.json, the start of an entry of `sweeps` that names a search."""

MODEL_CARD = "model_card.md"
"""In the directory of a run that was registered."""

FILES = ("config.yaml", "weights.safetensors", MODEL_CARD)
PLOTS = "plots"
ENDED = (FINISHED, FAILED, KILLED, PRUNED)
SHOWN_AS = {PRUNED: KILLED}
"""MLflow's status for a state that it does not have; the tag lenet.state has the state itself."""

DIGEST_LENGTH = 36
"""Longest digest of a data set that MLflow keeps; the whole one is a tag."""

TRAINED_ON, TESTED_ON = "training", "testing"
VALIDATION = "val/"
"""Start of the metrics that were measured on the validation part."""

MAX_PARAMETER, MAX_TAG = 6000, 8000
"""Characters of a parameter and of a tag that MLflow keeps."""

MILLISECONDS = 1000
EVALUATION = "evaluation.json"
EVALUATION_SHAPE: Shape = {"test_digest": str, "measures": {str: float}, "interval": [float], "evaluated": float}


def evaluation(folder: RunDir) -> dict[str, Any]:
    """Return the run's evaluation on the test set, or nothing where there is none."""
    try:
        return folder.read(EVALUATION, EVALUATION_SHAPE)
    except FileNotFoundError:
        return {}


@dataclass(frozen=True)
class TrackedRun:
    """A run directory as MLflow shows it."""

    run: RunDir

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.run.path

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.run.short

    @property
    def is_busy(self) -> bool:
        """Whether a process trains it, which keeps MLflow up to date itself."""
        return is_held(self.run.lock)

    def identity(self) -> Mapping[str, Any]:
        """Return run.json."""
        return self.run.identity()

    def content(self) -> Desired:
        """Return what MLflow is to hold of it.

        Raises:
            DamagedError: a file of the directory is damaged.
            FileNotFoundError: the run never started.
        """
        run = self.run
        run.check_config()
        identity, status, tested = run.identity(), run.status(), evaluation(run)
        # Killed before its first attempt was recorded, it is as dead as one that was killed later.
        state = run.state() or (RUNNING if self.is_busy else KILLED)
        attempts = status["attempts"]
        started = attempts[0]["started"] if attempts else (run.path / "config.yaml").stat().st_mtime
        has_ended = state in ENDED
        ended = [attempt["ended"] for attempt in attempts if attempt["ended"] is not None]
        return Desired(
            key=(FINGERPRINT_TAG, run.fingerprint),
            name=identity["name"],
            study=study_of(identity["sweeps"]),
            start_time=int(started * MILLISECONDS),
            params={name: str(value)[:MAX_PARAMETER] for name, value in flatten(identity["config"])},
            tags={FINGERPRINT_TAG: run.fingerprint} | _tags(run, identity, status, state),
            datasets=_datasets(identity, tested),
            points=[*epoch_points(run), *_tested_points(tested, run)],
            renewed=frozenset(tested["measures"]) if tested else frozenset(),
            artifacts=artifacts(run.path, FILES) if has_ended else {},
            status=SHOWN_AS.get(state, state) if has_ended else RUNNING,
            # None: killed, at an unknown time
            end_time=int(ended[-1] * MILLISECONDS) if has_ended and ended else None,
        )


def study_of(sweeps: list[str]) -> str | None:
    """Return the search whose trial a run is; None where a user or another sweep requested it too."""
    studies = [sweep.removeprefix(ORIGIN) for sweep in sweeps if sweep.startswith(ORIGIN)]
    return studies[0] if studies and len(studies) == len(sweeps) else None


def artifacts(folder: Path, files: tuple[str, ...]) -> dict[str, Path]:
    """Return those of a directory's files that are there, and its plots, by name; none that is half written."""
    plots = [path for path in sorted((folder / PLOTS).glob("*.png")) if TEMPORARY_SUFFIX not in path.name]
    named = {name: folder / name for name in files} | {f"{PLOTS}/{path.name}": path for path in plots}
    return {name: path for name, path in named.items() if path.is_file()}


def _datasets(identity: dict[str, Any], tested: dict[str, Any]) -> dict[DataSet, str]:
    name = str(identity["config"]["data"]["name"])
    source = json.dumps({"uri": f"data/prepared/{name}"})  # within the project, wherever that lies
    used = {DataSet(name, identity["data_digest"][:DIGEST_LENGTH], TRAINED_ON): source}
    if tested:
        used[DataSet(name, tested["test_digest"][:DIGEST_LENGTH], TESTED_ON)] = source
    return used


def epoch_points(folder: RunDir) -> list[Point]:
    """Return the metrics of all epochs, by epoch."""
    history = folder.history()
    clock = folder.status()["attempts"][0]["started"] if history else 0.0
    points = []
    for row in history:
        clock += row["seconds"]
        step, when = int(row["epoch"]), int(clock * MILLISECONDS)
        points += [Point(name, step, float(value), when) for name, value in row.items() if name != "epoch"]
    return points


def measured(folder: RunDir) -> list[tuple[Point, DataSet]]:
    """Return a trained network's metrics on validation (last epoch) and test, each with its data set.

    The validation part belongs to the prepared training data and has their digest.
    """
    tested, history = evaluation(folder), folder.history()
    datasets = {one.context: one for one in _datasets(folder.identity(), tested)}
    last = [point for point in epoch_points(folder) if point.step == len(history)]
    found = [(point, datasets[TRAINED_ON]) for point in last if point.name.startswith(VALIDATION)]
    return found + [(point, datasets[TESTED_ON]) for point in _tested_points(tested, folder)]


def _tested_points(tested: dict[str, Any], folder: RunDir) -> list[Point]:
    """Return the metrics on the test set, at the last epoch."""
    if not tested:
        return []
    step, when = len(folder.history()), int(tested["evaluated"] * MILLISECONDS)
    return [Point(name, step, float(value), when) for name, value in tested["measures"].items()]


def _tags(folder: RunDir, identity: dict[str, Any], status: dict[str, Any], state: str) -> dict[str, str]:
    """Return the tags about a run's origin and state."""
    config = identity["config"]
    tags = {
        "lenet.variant": config["name"],
        "lenet.seed": str(config["seed"]),
        "lenet.data_digest": identity["data_digest"],
        "lenet.code_digest": identity["code_digest"],
        "lenet.sweep": "; ".join(identity["sweeps"]),
        "lenet.message": status["message"],
        "lenet.state": state,
        "lenet.pruned": str(state == PRUNED).lower(),
        "lenet.folder": f"{folder.path.parent.name}/{folder.path.name}",
    }
    if status["attempts"]:
        last = status["attempts"][-1]
        git = last["git"]
        tags |= {
            "mlflow.user": last["user"],
            "mlflow.source.name": " ".join(["train.py", *identity["overrides"]]),
            "mlflow.source.git.commit": git["commit"] or "",
            "lenet.git_commit": git["commit"] or "",
            "lenet.git_dirty": str(git["dirty"]).lower(),
            "lenet.device": last["device"],
            "lenet.kernel": last.get("kernel", ""),
            "lenet.threads": ", ".join(map(str, folder.threads())),
            "lenet.host": last["host"],
            "lenet.attempts": str(len(status["attempts"])),
        }
        tags |= {f"lenet.version.{name}": value for name, value in last["versions"].items()}
    return {name: value[:MAX_TAG] for name, value in tags.items()}
