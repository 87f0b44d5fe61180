"""`lenet sync`: MLflow shows every run and every search as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lenet.core.atomic_io import remove_half_written
from lenet.core.errors import ConfigError, DamagedError, LenetError
from lenet.core.project import Project
from lenet.core.urls import without_password
from lenet.runs.run_dir import KILLED, all_runs
from lenet.tracking.destination import requested_destination
from lenet.tracking.entities import TrackedRun
from lenet.tracking.run_sync import RunSync, Tracked, differences
from lenet.tracking.search_sync import SEARCHES, TrackedSearch, search_folders
from lenet.tracking.store import follow_home, tracking_uri
from lenet.tracking.store_errors import StoreAwayError, store_errors

logger = logging.getLogger(__name__)

REMEDY = "run `lenet sync`, or the same command with the tracking.uri and tracking.experiment that are meant"
MAX_NAMED = 3
"""Runs that a line names of those with the same failure."""


@dataclass(frozen=True)
class Unsynced:
    """A run or a search that its store does not show as it is.

    Attributes:
        tracked: the run or the search.
        uri, experiment: its store and experiment.
        differences: what differs, such as `metric val/error`.
    """

    tracked: Tracked
    uri: str
    experiment: str
    differences: list[str]


class Failures:
    """What could not be shown, by the reason."""

    def __init__(self) -> None:
        self._by_reason: dict[str, list[Tracked]] = {}

    def add(self, tracked: Tracked, error: Exception) -> None:
        """Note one."""
        self._by_reason.setdefault(str(error), []).append(tracked)

    def __iter__(self) -> Iterator[Tracked]:
        for failed in self._by_reason.values():
            yield from failed

    def log(self) -> None:
        """Log one line a reason."""
        for text, failed in self._by_reason.items():
            more = f" and {len(failed) - MAX_NAMED} more" if len(failed) > MAX_NAMED else ""
            logger.warning("not shown: %s%s: %s", ", ".join(one.name for one in failed[:MAX_NAMED]), more, text)


class Stores:
    """The stores in use; one that is away is tried once."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._open: dict[tuple[str, str], RunSync] = {}
        self._away: dict[str, StoreAwayError] = {}

    def send(self, tracked: Tracked, uri: str, experiment: str) -> None:
        """Send what a store lacks.

        Raises:
            LenetError, OSError: it is away or refuses.
        """
        if uri in self._away:
            raise self._away[uri]
        sync = self._open.setdefault((uri, experiment), RunSync(self._project, uri, experiment))
        try:
            with store_errors(uri, REMEDY):
                sync.send_tracked(tracked)
        except StoreAwayError as error:
            self._away[uri] = error
            raise


def find_unsynced(project: Project, failures: Failures) -> list[Unsynced]:
    """Return the runs and searches that their stores do not show as they are; those being worked at are skipped.

    Args:
        project: where they lie.
        failures: takes those that are damaged or whose URI is not a store's.
    """
    tracked: list[Tracked] = [*map(TrackedRun, all_runs(project)), *map(TrackedSearch, search_folders(project.home))]
    found = []
    for one in tracked:
        try:
            if one.is_busy:
                continue
            uri, experiment = requested_destination(project, one.identity())
            if differing := differences(one, uri):
                found.append(Unsynced(one, uri, experiment, differing))
        except (DamagedError, ConfigError) as error:
            failures.add(one, error)
    return found


def synchronize(project: Project) -> bool:
    """Send to MLflow what it lacks; a run whose process is gone is shown as KILLED.

    What cannot be shown is logged with its reason, and the rest is sent.

    Returns:
        Whether everything is shown.
    """
    for folder in (project.runs, project.home / SEARCHES):
        remove_half_written(folder)
    uri = tracking_uri(project)
    follow_home(project, uri)
    failures, stores, sent = Failures(), Stores(project), list[TrackedRun]()
    for one in find_unsynced(project, failures):
        try:
            stores.send(one.tracked, one.uri, one.experiment)
        except (LenetError, OSError) as error:
            failures.add(one.tracked, error)
        else:
            sent += [one.tracked] if isinstance(one.tracked, TrackedRun) else []
    shown = len(all_runs(project)) - sum(isinstance(one, TrackedRun) for one in failures)
    logger.info("MLflow at %s shows %d runs (%d brought up to date)", without_password(uri), shown, len(sent))
    for killed in [one.run for one in sent if one.run.state() == KILLED]:
        logger.info("%s: killed after epoch %d; the same command goes on", killed.short, len(killed.history()))
    failures.log()
    return not list(failures)


def synchronize_search(project: Project, folder: Path) -> None:
    """Bring MLflow up to date with a search; where that fails, it is logged, and `lenet sync` makes up for it."""
    search = TrackedSearch(folder)
    try:
        uri, experiment = requested_destination(project, search.identity())
        if differences(search, uri):
            Stores(project).send(search, uri, experiment)
    except (LenetError, OSError) as error:
        logger.warning("%s: not shown: %s", search.name, error)
