"""A run folder in MLflow's words: metrics by epoch, tags, the data set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lenet.durable import read_json
from lenet.project import Project
from lenet.runs import PRUNED, RunFolder

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Metric

METRICS_A_BATCH = 1000
"""MLflow's own limit for one log_batch."""

DIGEST_LENGTH = 36
"""Longest digest of a data set that MLflow keeps; the whole one is a tag."""

MILLISECONDS = 1000


def evaluation(folder: RunFolder) -> dict[str, Any]:
    """Return what the test set said of the run, or nothing where it was not asked."""
    try:
        return read_json(folder.path / "evaluation.json")
    except FileNotFoundError:
        return {}


def data_set(project: Project, identity: dict[str, Any]) -> DatasetInput:
    """Return the data set that a run was trained on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    name = identity["config"]["data"]["name"]
    source = json.dumps({"uri": str(project.prepared(name))})
    digest = identity["data_digest"][:DIGEST_LENGTH]
    dataset = Dataset(name=name, digest=digest, source_type="local", source=source)
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "training")])


def batches(metrics: Sequence[Metric]) -> Iterator[list[Metric]]:
    """Divide metrics into what is sent at once, no epoch in two parts: a process may be killed between them."""
    batch: list[Metric] = []
    for _, group in groupby(metrics, key=lambda metric: metric.step):
        epoch = list(group)
        if batch and len(batch) + len(epoch) > METRICS_A_BATCH:
            yield batch
            batch = []
        batch += epoch
    if batch:
        yield batch


def epoch_metrics(folder: RunFolder, sent: set[int]) -> list[Metric]:
    """Return the metrics of the epochs that were not sent yet, by epoch."""
    from mlflow.entities import Metric

    history = folder.history()
    clock = folder.status()["attempts"][0]["started"] if history else 0.0
    metrics = []
    for row in history:
        clock += row["seconds"]
        step = int(row["epoch"])
        if step not in sent:
            when = int(clock * MILLISECONDS)
            metrics += [Metric(name, value, when, step) for name, value in row.items() if name != "epoch"]
    return metrics


def tested_metrics(tested: dict[str, Any], folder: RunFolder) -> list[Metric]:
    """Return what the test set said, as `evaluation` has it, at the last epoch."""
    from mlflow.entities import Metric

    step = len(folder.history())
    when = int(tested["evaluated"] * MILLISECONDS)
    return [Metric(name, value, when, step) for name, value in tested["measures"].items()]


def run_tags(folder: RunFolder) -> dict[str, str]:
    """Return the tags that tell where a run comes from and how it stands."""
    identity, status = folder.identity(), folder.status()
    config = identity["config"]
    tags = {
        "lenet.variant": config["name"],
        "lenet.seed": str(config["seed"]),
        "lenet.data_digest": identity["data_digest"],
        "lenet.code_digest": identity["code_digest"],
        "lenet.sweep": "; ".join(identity["sweeps"]),
        "lenet.message": status["message"],
        "lenet.state": folder.state() or "",
        "lenet.pruned": str(folder.state() == PRUNED).lower(),
        "lenet.folder": str(folder.path),
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
    return tags
