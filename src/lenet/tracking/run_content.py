"""What a run of MLflow is to hold, what it holds, and what one must send for the two to be the same."""

from __future__ import annotations

import filecmp
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lenet.core.atomic_io import sha256_bytes, sha256_file

Content = Path | bytes
"""What an artifact is made of: a file, or the bytes themselves."""


class Point(NamedTuple):
    """One value of a metric, its time in milliseconds since 1970."""

    name: str
    step: int
    value: float
    timestamp: int


class DataSet(NamedTuple):
    """A data set that a run used, and what for."""

    name: str
    digest: str
    context: str


@dataclass(frozen=True)
class Desired:
    """What a run of MLflow is to hold; whatever else it holds is somebody's own and stays.

    Attributes:
        key: name and value of the tag that it is known by.
        name: what it is called when it is created; its user may call it otherwise.
        start_time: when it began, in milliseconds; None: now.
        params: values by name.
        tags: values by name, the key's included.
        no_tags: names of tags that it must not have.
        datasets: where each data set comes from, as JSON.
        points: all values of its metrics.
        renewed: metrics of which the newest value counts.
        artifacts: contents by path.
        status: MLflow's word for its state.
        end_time: when it ended, in milliseconds; None: unknown, or not yet.
    """

    key: tuple[str, str]
    name: str
    start_time: int | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Sequence[Point]
    artifacts: Mapping[str, Content]
    status: str
    no_tags: frozenset[str] = frozenset()
    datasets: Mapping[DataSet, str] = field(default_factory=dict)
    renewed: frozenset[str] = frozenset()
    end_time: int | None = None


@dataclass
class Actual:
    """What a run of MLflow holds.

    Attributes:
        run_id: its id.
        experiment_id: the id of its experiment.
        status, end_time, params, tags, datasets: as `Desired` has them.
        points: the values of each metric by its name.
        latest: of each metric the value that MLflow's tables show; None where the store was not asked.
        artifacts: the folder of its artifacts where that lies on this machine, otherwise None.
        sent: where it does not, the sha256 of the artifacts that are known to be there, by path.
    """

    run_id: str
    experiment_id: str
    status: str
    end_time: int | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    datasets: set[DataSet] = field(default_factory=set)
    points: dict[str, list[Point]] = field(default_factory=dict)
    latest: dict[str, Point] | None = None
    artifacts: Path | None = None
    sent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """What a run of MLflow lacks, and what it holds that is wrong; empty where it is as it is to be.

    Attributes:
        params, tags, datasets, points, artifacts: what is to be sent.
        extra_tags: tags that are to go.
        wrong_params, wrong_metrics, wrong_datasets: what is to go before the right ones are sent.
        has_status: whether state or end are to be set.
    """

    params: Mapping[str, str]
    tags: Mapping[str, str]
    datasets: Sequence[DataSet]
    points: Sequence[Point]
    artifacts: Sequence[str]
    extra_tags: Sequence[str]
    wrong_params: Sequence[str]
    wrong_metrics: Sequence[str]
    wrong_datasets: Sequence[DataSet]
    has_status: bool

    def __bool__(self) -> bool:
        return any(self.words())

    @property
    def is_wrong(self) -> bool:
        """Say whether something is held that cannot stay."""
        return bool(self.wrong_params or self.wrong_metrics or self.wrong_datasets)

    def words(self) -> list[str]:
        """Return what differs, as people are told it."""
        metrics = sorted({point.name for point in self.points} | set(self.wrong_metrics))
        tags = [*self.tags, *self.extra_tags]
        datasets = sorted({one.name for one in (*self.datasets, *self.wrong_datasets)})
        named = (("parameter", self.params), ("metric", metrics), ("tag", tags), ("data set", datasets))
        words = [f"{kind} {name}" for kind, names in named for name in names]
        words += [f"artifact {name}" for name in self.artifacts]
        return words + ["status"] * self.has_status


def compare(desired: Desired, actual: Actual, is_exact: bool) -> Difference:
    """Return what one must send to a run of MLflow for it to hold what it is to hold.

    Args:
        desired: what it is to hold.
        actual: what it holds.
        is_exact: what is wrong can be taken away. Otherwise it stays, for MLflow has no way to take a parameter or a
            point back, and other homes may show the same run at the same server with times of their own.
    """
    params = {name: value for name, value in desired.params.items() if actual.params.get(name) != value}
    wrong_params = [name for name in params if name in actual.params]
    if not is_exact:
        params = {name: value for name, value in params.items() if name not in wrong_params}
    contexts = {one.context for one in desired.datasets}
    others = [one for one in sorted(actual.datasets) if one.context in contexts and one not in desired.datasets]
    points, wrong_metrics = _points(desired, actual) if is_exact else (_new_points(desired, actual), [])
    is_over = desired.end_time is not None and desired.end_time != actual.end_time
    return Difference(
        params=params,
        tags={name: value for name, value in desired.tags.items() if actual.tags.get(name) != value},
        datasets=[one for one in desired.datasets if one not in actual.datasets],
        points=points,
        artifacts=[name for name, content in desired.artifacts.items() if not _is_held(actual, name, content)],
        extra_tags=[name for name in sorted(desired.no_tags) if name in actual.tags],
        wrong_params=wrong_params if is_exact else [],
        wrong_metrics=wrong_metrics,
        wrong_datasets=others if is_exact else [],
        has_status=desired.status != actual.status or is_over,
    )


def _by_name(points: Iterable[Point]) -> dict[str, list[Point]]:
    named: dict[str, list[Point]] = {}
    for point in points:
        named.setdefault(point.name, []).append(point)
    return named


def _points(desired: Desired, actual: Actual) -> tuple[list[Point], list[str]]:
    """Return the points to be sent, by step, and the metrics that must be emptied first."""
    missing, wrong = list[Point](), list[str]()
    for name, points in _by_name(desired.points).items():
        known = actual.points.get(name, [])
        newest = max(known, key=lambda point: (point.step, point.timestamp, point.value), default=None)
        is_shown = actual.latest is None or actual.latest.get(name) == newest
        if Counter(known) - Counter(points) or not is_shown:
            wrong.append(name)
            known = []
        missing += [point for point in points if point not in known]
    return sorted(missing, key=lambda point: point.step), wrong


def _new_points(desired: Desired, actual: Actual) -> list[Point]:
    known = {name: {point.step: point.value for point in points} for name, points in actual.points.items()}
    return [
        point
        for point in desired.points
        if point.step not in known.get(point.name, {})
        or (point.name in desired.renewed and known[point.name][point.step] != point.value)
    ]


def _is_held(actual: Actual, name: str, content: Content) -> bool:
    if actual.artifacts is None:
        return actual.sent.get(name) == digest(content)
    path = actual.artifacts / name
    if not path.is_file():
        return False
    if isinstance(content, bytes):
        return path.read_bytes() == content
    return filecmp.cmp(path, content)  # of the same size and time they are taken for the same: MLflow copies both


def digest(content: Content) -> str:
    """Return the sha256 of an artifact."""
    return sha256_bytes(content) if isinstance(content, bytes) else sha256_file(content)
