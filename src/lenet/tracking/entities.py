"""A run folder in MLflow's words: what its run there is to hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lenet.config.validation import flatten
from lenet.core.atomic_io import TEMPORARY_SUFFIX, Shape
from lenet.core.file_lock import is_held
from lenet.runs.run_dir import FAILED, FINISHED, KILLED, PRUNED, RUNNING, RunDir
from lenet.tracking.run_content import DataSet, Desired, Point

FINGERPRINT_TAG = "lenet.fingerprint"
PARENT_TAG = "mlflow.parentRunId"
MODEL_CARD = "model_card.md"
"""In the folder of a run that was registered."""

FILES = ("config.yaml", "weights.safetensors", MODEL_CARD)
PLOTS = "plots"
ENDED = (FINISHED, FAILED, KILLED, PRUNED)
SHOWN_AS = {PRUNED: KILLED}
"""MLflow's own name of a state that it does not know; the tag lenet.state has ours."""

DIGEST_LENGTH = 36
"""Longest digest of a data set that MLflow keeps; the whole one is a tag."""

TRAINED_ON, TESTED_ON = "training", "testing"
VALIDATION = "val/"
"""Start of the metrics that were measured on the validation part."""

PARAMETER_CHARACTERS, TAG_CHARACTERS = 6000, 8000
"""Longest values of a run's parameter and tag that MLflow keeps; it cuts longer ones."""

MILLISECONDS = 1000
EVALUATION = "evaluation.json"
EVALUATION_SHAPE: Shape = {"test_digest": str, "measures": {str: float}, "interval": [float], "evaluated": float}


def evaluation(folder: RunDir) -> dict[str, Any]:
    """Return what the test set said of the run, or nothing where it was not asked."""
    try:
        return folder.read(EVALUATION, EVALUATION_SHAPE)
    except FileNotFoundError:
        return {}


def desired_run(folder: RunDir, parent: str | None) -> Desired:
    """Return what MLflow is to hold of a run.

    Args:
        folder: the run.
        parent: the id of the MLflow run of the search that alone asked for it; None: it stands for itself.

    Raises:
        DamagedError: a file of the folder is damaged.
        FileNotFoundError: the run was never begun.
    """
    identity, status = folder.identity(), folder.status()
    # Killed before its first attempt was written down, it is as dead as one that was killed later.
    state = folder.state() or (RUNNING if is_held(folder.lock) else KILLED)
    attempts, tested = status["attempts"], evaluation(folder)
    started = attempts[0]["started"] if attempts else (folder.path / "config.yaml").stat().st_mtime
    has_ended = state in ENDED
    ended = [attempt["ended"] for attempt in attempts if attempt["ended"] is not None]
    tags = {FINGERPRINT_TAG: folder.fingerprint} | _tags(folder, identity, status, state)
    return Desired(
        key=(FINGERPRINT_TAG, folder.fingerprint),
        name=identity["name"],
        start_time=int(started * MILLISECONDS),
        params={name: str(value)[:PARAMETER_CHARACTERS] for name, value in flatten(identity["config"])},
        tags=tags if parent is None else tags | {PARENT_TAG: parent},
        no_tags=frozenset({PARENT_TAG} if parent is None else ()),  # asked for by others since: a run of its own now
        datasets=_datasets(identity, tested),
        points=[*epoch_points(folder), *_tested_points(tested, folder)],
        renewed=frozenset(tested["measures"]) if tested else frozenset(),
        artifacts=artifacts(folder.path, FILES) if has_ended else {},
        status=SHOWN_AS.get(state, state) if has_ended else RUNNING,
        # None: killed, nobody saw when
        end_time=int(ended[-1] * MILLISECONDS) if has_ended and ended else None,
    )


def artifacts(folder: Path, files: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of a folder that MLflow is to hold, and its plots, by name; none that is half written."""
    plots = [path for path in sorted((folder / PLOTS).glob("*.png")) if TEMPORARY_SUFFIX not in path.name]
    named = {name: folder / name for name in files} | {f"{PLOTS}/{path.name}": path for path in plots}
    return {name: path for name, path in named.items() if path.is_file()}


def dataset_name(identity: dict[str, Any]) -> str:
    """Return the name of the data set that a run was asked for with."""
    return str(identity["config"]["data"]["name"])


def _datasets(identity: dict[str, Any], tested: dict[str, Any]) -> dict[DataSet, str]:
    name = dataset_name(identity)
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
    """Return what tells of a trained network: the last epoch's validation, the test set's answer, each with its data.

    The validation part is one of the prepared training data, and goes by their digest.
    """
    tested, history = evaluation(folder), folder.history()
    datasets = {one.context: one for one in _datasets(folder.identity(), tested)}
    last = [point for point in epoch_points(folder) if point.step == len(history)]
    found = [(point, datasets[TRAINED_ON]) for point in last if point.name.startswith(VALIDATION)]
    return found + [(point, datasets[TESTED_ON]) for point in _tested_points(tested, folder)]


def _tested_points(tested: dict[str, Any], folder: RunDir) -> list[Point]:
    """Return what the test set said, at the last epoch."""
    if not tested:
        return []
    step, when = len(folder.history()), int(tested["evaluated"] * MILLISECONDS)
    return [Point(name, step, float(value), when) for name, value in tested["measures"].items()]


def _tags(folder: RunDir, identity: dict[str, Any], status: dict[str, Any], state: str) -> dict[str, str]:
    """Return the tags that tell where a run comes from and how it stands."""
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
            "lenet.threads": ", ".join(map(str, folder.threads())),
            "lenet.host": last["host"],
            "lenet.attempts": str(len(status["attempts"])),
        }
        tags |= {f"lenet.version.{name}": value for name, value in last["versions"].items()}
    return {name: value[:TAG_CHARACTERS] for name, value in tags.items()}
