"""A search in MLflow: one run for the whole, its trials nested under it, as the search's folder says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.durable import canonical_json, read_json, sha256_bytes, write_json
from lenet.errors import DamagedError
from lenet.locks import is_held, locked
from lenet.runs import FINISHED, KILLED, RUNNING
from lenet.schema import flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient

SEARCHES = "searches"
"""Folder of all searches within the project's home."""

STUDY_TAG = "lenet.search"
ORIGIN = "search:"
"""Start of what a run's `sweeps` say of the search that asked for it."""

DESCRIPTION, SUMMARY, TABLE, RECORD, LOCK = "search.json", "summary.json", "trials.csv", "mlflow.json", "lock"
SENT_FILES = ("best.yaml", TABLE, SUMMARY, "search.html")
PLOTS = "plots"
BEST_METRIC = "search/best"
METRICS_A_BATCH = 1000
SHOWN_TABLE = "trials.json"
PARAMETER_CHARACTERS = 6000
"""Longest value of a parameter that MLflow keeps."""


def study_of(sweeps: list[str]) -> str | None:
    """Return the search that alone asked for a run; one that anyone else asked for too stands for itself."""
    studies = [sweep.removeprefix(ORIGIN) for sweep in sweeps if sweep.startswith(ORIGIN)]
    return studies[0] if studies and len(studies) == len(sweeps) else None


def search_folders(home: Path) -> list[Path]:
    """Return the folders of all searches, by name."""
    return sorted(path.parent for path in (home / SEARCHES).glob(f"*/{DESCRIPTION}"))


def token(folder: Path) -> str:
    """Return a digest of all that is projected of a search, to see whether a store is up to date."""
    files = [folder / name for name in SENT_FILES] + sorted((folder / PLOTS).glob("*.png"))
    sizes = [[path.name, path.stat().st_size] for path in files if path.is_file()]
    return sha256_bytes(
        canonical_json([read_json(folder / DESCRIPTION), _summary(folder), _state(folder), sizes]).encode()
    )


def is_search_up_to_date(folder: Path, uri: str) -> bool:
    """Say whether a store was sent all of a search's folder."""
    return bool(_recorded(folder).get(uri, {}).get("token") == token(folder))


def ensure_parent(client: MlflowClient, experiment_id: str, home: Path, study: str) -> str:
    """Return the id of a search's run in MLflow, made where there is none."""
    folder = home / SEARCHES / study
    with locked(folder / "projection.lock"):
        return _ensure_parent(client, experiment_id, folder, study)


def _ensure_parent(client: MlflowClient, experiment_id: str, folder: Path, study: str) -> str:
    found = client.search_runs([experiment_id], f"tags.`{STUDY_TAG}` = '{study}'", order_by=["start_time ASC"])
    if found:
        return str(found[0].info.run_id)
    run = client.create_run(experiment_id, tags={STUDY_TAG: study}, run_name=f"search {study}")
    _send_description(client, run.info.run_id, folder)
    return str(run.info.run_id)


def send_search(client: MlflowClient, experiment_id: str, uri: str, folder: Path) -> str:
    """Bring a store up to date with a search's folder, and return the id of its run there.

    Raises:
        MlflowException, OSError: the store is away or refuses; sending again later goes on where this ended.
    """
    study = folder.name
    with locked(folder / "projection.lock"):
        now = token(folder)
        run_id = _ensure_parent(client, experiment_id, folder, study)
        summary = _summary(folder)
        if summary:
            _send_summary(client, run_id, folder, summary)
        for name in SENT_FILES:
            if (folder / name).is_file():
                client.log_artifact(run_id, str(folder / name))
        if (folder / PLOTS).is_dir():
            client.log_artifacts(run_id, str(folder / PLOTS), PLOTS)
        state = _state(folder)
        if state == RUNNING:
            client.update_run(run_id, status=RUNNING)
        else:
            client.set_terminated(run_id, status=state)
        write_json(folder / RECORD, {"stores": _recorded(folder) | {uri: {"run_id": run_id, "token": now}}})
    return run_id


def _send_description(client: MlflowClient, run_id: str, folder: Path) -> None:
    from mlflow.entities import Param

    try:
        description = read_json(folder / DESCRIPTION)
    except (FileNotFoundError, DamagedError):  # the trials still have a parent
        return
    shown = {key: description[key] for key in ("objectives", "sampler", "pruner", "epochs", "space")}
    parameters = [Param(f"search.{key}", str(value)[:PARAMETER_CHARACTERS]) for key, value in flatten(shown)]
    client.log_batch(run_id, params=parameters)


def _send_summary(client: MlflowClient, run_id: str, folder: Path, summary: dict[str, Any]) -> None:
    from mlflow.entities import Metric, RunTag

    known = client.get_metric_history(run_id, BEST_METRIC)
    sent = {point.step for point in known}
    when = max((point.timestamp for point in known), default=0)
    metrics = [
        Metric(BEST_METRIC, value, max(when, int(ended * 1000)), step)
        for step, value, ended in summary["history"]
        if step not in sent
    ]
    counts = {f"search/trials_{name}": float(count) for name, count in summary["trials"].items()}
    step = len(summary["history"])
    current = client.get_run(run_id).data.metrics
    stamp = metrics[-1].timestamp if metrics else when
    metrics += [Metric(name, value, stamp, step) for name, value in counts.items() if current.get(name) != value]
    for start in range(0, len(metrics), METRICS_A_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_A_BATCH])
    best = summary["best"]
    tags = {"mlflow.loggedArtifacts": json.dumps([{"path": SHOWN_TABLE, "type": "table"}])}
    if best is not None:
        tags |= {f"lenet.best.{name}": str(value) for name, value in best["values"].items()}
        tags |= {"lenet.best.run": best["run"], "lenet.best.val_error": f"{best['val_error']:.4g}"}
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    client.log_dict(run_id, _shown_table(folder / TABLE), SHOWN_TABLE)


def _shown_table(path: Path) -> dict[str, Any]:
    """Return the trials in the form that MLflow's UI shows as a table."""
    import csv

    with path.open(encoding="utf-8", newline="") as stream:
        columns, *rows = list(csv.reader(stream))
    return {"columns": columns, "data": rows}


def _summary(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / SUMMARY)
    except (FileNotFoundError, DamagedError):
        return {}


def _state(folder: Path) -> str:
    if is_held(folder / LOCK):
        return RUNNING
    return FINISHED if _summary(folder).get("is_over") else KILLED


def _recorded(folder: Path) -> dict[str, Any]:
    try:
        return dict(read_json(folder / RECORD)["stores"])
    except (FileNotFoundError, DamagedError):
        return {}
