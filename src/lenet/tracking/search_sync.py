"""A search in MLflow's terms: one run for the whole, with the runs of its trials nested in it."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenet.config.validation import flatten
from lenet.core.atomic_io import Shape, read_json
from lenet.core.errors import DamagedError
from lenet.core.file_lock import is_held
from lenet.runs.run_dir import FINISHED, KILLED, RUNNING
from lenet.tracking.entities import MAX_PARAMETER, MILLISECONDS, artifacts
from lenet.tracking.run_content import Content, Desired, Point

SEARCHES = "searches"
"""Folder of all searches in the project's home."""

STUDY_TAG = "lenet.search"
DESCRIPTION, SUMMARY, TABLE, LOCK = "search.json", "summary.json", "trials.csv", "lock"
FILES = ("best.yaml", TABLE, SUMMARY, "search.html")
SHAPES: dict[str, Shape] = {
    DESCRIPTION: {
        "tracking": {"uri": (str, type(None)), "experiment": str},
        "objectives": [str],
        "sampler": str,
        "pruner": str,
        "epochs": int,
        "space": dict,
    },
    SUMMARY: {"trials": {str: int}, "is_over": bool, "best": (dict, type(None)), "history": [[float]]},
}
BEST_METRIC = "search/best"
TABLE_ARTIFACT = "trials.json"
"""The trials in the form that MLflow's UI shows as a table."""


def search_folders(home: Path) -> list[Path]:
    """Return the directories of all searches, by name."""
    return sorted(path.parent for path in (home / SEARCHES).glob(f"*/{DESCRIPTION}"))


def read_search(folder: Path, name: str) -> dict[str, Any]:
    """Read one of the JSON files of a search, `DESCRIPTION` or `SUMMARY`.

    Raises:
        DamagedError: it is damaged, or another search's.
        FileNotFoundError: there is no such file.
    """
    return read_json(folder / name, SHAPES[name], {"study": folder.name})


@dataclass(frozen=True)
class TrackedSearch:
    """The directory of a search as MLflow shows it."""

    folder: Path

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.folder.name

    @property
    def is_busy(self) -> bool:
        """Whether a process works at it, which brings MLflow up to date at its end."""
        return is_held(self.folder / LOCK)

    def identity(self) -> Mapping[str, Any]:
        """Return search.json."""
        return read_search(self.folder, DESCRIPTION)

    def outline(self) -> Desired:
        """Return the run without content, so that trials can be nested in it before there is any."""
        return Desired(
            key=(STUDY_TAG, self.name), name=f"search {self.name}", status=RUNNING, tags={STUDY_TAG: self.name}
        )

    def content(self) -> Desired:
        """Return what MLflow is to hold of it.

        Raises:
            DamagedError: its description is damaged.
        """
        description, summary = self.identity(), _summary(self.folder)
        settings = {key: description[key] for key in ("objectives", "sampler", "pruner", "epochs", "space")}
        files: dict[str, Content] = {**artifacts(self.folder, FILES)}
        tags = {STUDY_TAG: self.name}
        if summary:
            files[TABLE_ARTIFACT] = _table(self.folder / TABLE)
            tags["mlflow.loggedArtifacts"] = json.dumps([{"path": TABLE_ARTIFACT, "type": "table"}])
            if best := summary["best"]:
                tags |= {f"lenet.best.{name}": str(value) for name, value in best["values"].items()}
                tags |= {"lenet.best.run": best["run"], "lenet.best.val_error": f"{best['val_error']:.4g}"}
        ended = FINISHED if summary.get("is_over") else KILLED
        return Desired(
            key=(STUDY_TAG, self.name),
            name=f"search {self.name}",
            status=RUNNING if self.is_busy else ended,
            tags=tags,
            params={f"search.{key}": str(value)[:MAX_PARAMETER] for key, value in flatten(settings)},
            points=_points(summary) if summary else (),
            renewed=frozenset(f"search/trials_{name}" for name in summary.get("trials", ())),
            artifacts=files,
        )


def _points(summary: dict[str, Any]) -> list[Point]:
    """Return the best value so far after each trial, and the numbers of trials by state."""
    best = [
        Point(BEST_METRIC, step, float(value), int(ended * MILLISECONDS)) for step, value, ended in summary["history"]
    ]
    step, when = len(best), best[-1].timestamp if best else 0
    counts = [Point(f"search/trials_{name}", step, float(count), when) for name, count in summary["trials"].items()]
    return best + counts


def _table(path: Path) -> bytes:
    with path.open(encoding="utf-8", newline="") as stream:
        columns, *rows = list(csv.reader(stream))
    return json.dumps({"columns": columns, "data": rows}).encode()


def _summary(folder: Path) -> dict[str, Any]:
    try:
        return read_search(folder, SUMMARY)
    except (FileNotFoundError, DamagedError):  # none yet; the same search again writes a damaged one anew
        return {}
