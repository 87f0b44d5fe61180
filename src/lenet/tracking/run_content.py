"""What a run of MLflow is to hold, what it holds, and the difference."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from lenet.core.atomic_io import canonical_json, sha256_bytes, sha256_file

PARENT_TAG = "mlflow.parentRunId"
Content = Path | bytes
"""An artifact: a file, or the bytes themselves."""


class Point(NamedTuple):
    """A value of a metric; its time in milliseconds since 1970."""

    name: str
    step: int
    value: float
    timestamp: int


class DataSet(NamedTuple):
    """A data set that a run used, and for what."""

    name: str
    digest: str
    context: str


@dataclass(frozen=True)
class Desired:
    """What a run of MLflow is to hold. What users add (notes, tags, metrics of other names) stays.

    Attributes:
        key: name and value of the tag that identifies it.
        name: its name at creation; a user may rename it.
        study: the search whose run is its parent, or None.
        start_time: in milliseconds; None: at creation.
        params: values by name.
        tags: values by name, the key's included.
        datasets: JSON of where each comes from.
        points: all values of its metrics.
        renewed: metrics that are measured anew, of which the newest value counts.
        artifacts: contents by path.
        status: MLflow's word for its state.
        end_time: in milliseconds; None: unknown, or not yet.
    """

    key: tuple[str, str]
    name: str
    status: str
    tags: Mapping[str, str]
    study: str | None = None
    start_time: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    points: Sequence[Point] = ()
    artifacts: Mapping[str, Content] = field(default_factory=dict)
    datasets: Mapping[DataSet, str] = field(default_factory=dict)
    renewed: frozenset[str] = frozenset()
    end_time: int | None = None

    def nested_in(self, parent: str | None) -> Desired:
        """Return the same below another run of MLflow, given by its id."""
        return self if parent is None else replace(self, tags={**self.tags, PARENT_TAG: parent})

    def digest(self) -> str:
        """Return a digest of all of it, by which one sees later whether a server was sent it."""
        artifacts = {name: digest(content) for name, content in self.artifacts.items()}
        body = [self.study, self.params, self.tags, list(self.datasets), self.points, artifacts]
        return sha256_bytes(canonical_json([*body, self.status, self.end_time]).encode())


@dataclass
class Actual:
    """What a run of MLflow holds.

    Attributes:
        run_id, experiment_id: its ids.
        status, end_time, params, tags, datasets: as in `Desired`.
        points: values by the metric's name.
        artifacts: the folder of its artifacts where that lies on this machine, otherwise None.
        sent: where it does not, the sha256 of the artifacts that were sent, by path.
    """

    run_id: str
    experiment_id: str
    status: str
    end_time: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: set[DataSet] = field(default_factory=set)
    points: dict[str, list[Point]] = field(default_factory=dict)
    artifacts: Path | None = None
    sent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """What is to be sent to a run of MLflow, and what is to be deleted from it before.

    Attributes:
        params, tags, datasets, points, artifacts: to be sent.
        wrong_params, wrong_metrics, wrong_tags: to be deleted.
        has_status: whether state or end time are to be set.
    """

    params: Mapping[str, str]
    tags: Mapping[str, str]
    datasets: Sequence[DataSet]
    points: Sequence[Point]
    artifacts: Sequence[str]
    wrong_params: Sequence[str]
    wrong_metrics: Sequence[str]
    wrong_tags: Sequence[str]
    has_status: bool

    def names(self) -> list[str]:
        """Return what differs, such as `metric val/error`; nothing where the two are the same."""
        metrics = {*(point.name for point in self.points), *self.wrong_metrics}
        named: Mapping[str, Iterable[str]] = {
            "parameter": {*self.params, *self.wrong_params},
            "metric": metrics,
            "tag": {*self.tags, *self.wrong_tags},
            "data set": {one.name for one in self.datasets},
            "artifact": self.artifacts,
        }
        found = [f"{kind} {name}" for kind, names in named.items() for name in sorted(names)]
        return found + ["status"] * self.has_status


def compare(desired: Desired, actual: Actual, is_exact: bool) -> Difference:
    """Compare what a run of MLflow is to hold with what it holds.

    Args:
        desired: what it is to hold.
        actual: what it holds.
        is_exact: wrong parameters and points can be deleted. Otherwise they stay, for MLflow has no call that deletes
            them, and other homes may show the same run at the same server with their own times.
    """
    wrong_params = [name for name, value in actual.params.items() if desired.params.get(name, value) != value]
    points, wrong_metrics = _compare_points(desired, actual, is_exact)
    has_ended = desired.end_time is not None and desired.end_time != actual.end_time
    return Difference(
        params={
            name: value
            for name, value in desired.params.items()
            if name not in actual.params or (is_exact and name in wrong_params)
        },
        tags={name: value for name, value in desired.tags.items() if actual.tags.get(name) != value},
        datasets=[one for one in desired.datasets if one not in actual.datasets],
        points=points,
        artifacts=[name for name, content in desired.artifacts.items() if not _is_held(actual, name, content)],
        wrong_params=wrong_params if is_exact else [],
        wrong_metrics=wrong_metrics,
        wrong_tags=[PARENT_TAG] if PARENT_TAG in actual.tags and PARENT_TAG not in desired.tags else [],
        has_status=desired.status != actual.status or has_ended,
    )


def _compare_points(desired: Desired, actual: Actual, is_exact: bool) -> tuple[list[Point], list[str]]:
    """Return the points to be sent, by step, and the metrics to be deleted before."""
    by_name: dict[str, list[Point]] = {}
    for point in desired.points:
        by_name.setdefault(point.name, []).append(point)
    missing, wrong = list[Point](), list[str]()
    for name, points in by_name.items():
        known = actual.points.get(name, [])
        if not is_exact:
            latest = {point.step: point.value for point in known}
            is_renewed = name in desired.renewed
            missing += [
                point
                for point in points
                if point.step not in latest or (is_renewed and latest[point.step] != point.value)
            ]
        elif set(known) - set(points):
            wrong.append(name)
            missing += points
        else:
            missing += [point for point in points if point not in known]
    return sorted(missing, key=lambda point: point.step), wrong


def _is_held(actual: Actual, name: str, content: Content) -> bool:
    if actual.artifacts is None:
        return actual.sent.get(name) == digest(content)
    path = actual.artifacts / name
    if not path.is_file():
        return False
    if isinstance(content, bytes):
        return path.read_bytes() == content
    return filecmp.cmp(path, content)  # taken for the same where size and time are: MLflow copies both


def digest(content: Content) -> str:
    """Return the sha256 of an artifact."""
    return sha256_bytes(content) if isinstance(content, bytes) else sha256_file(content)
