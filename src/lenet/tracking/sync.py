"""`lenet sync`: MLflow shows every run and every search as it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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


class Unsynced(NamedTuple):
    """A run or a search that its store does not show as it is, and what differs, such as `metric val/error`."""

    tracked: Tracked
    uri: str
    experiment: str
    differences: list[str]


class Failure(NamedTuple):
    """A run or a search that cannot be shown, and why."""

    tracked: Tracked
    error: Exception


def find_unsynced(project: Project) -> tuple[list[Unsynced], list[Failure]]:
    """Return the runs and searches that their stores do not show as they are, and the damaged ones.

    Those that a process works at are skipped: it keeps MLflow up to date itself.
    """
    tracked: list[Tracked] = [*map(TrackedRun, all_runs(project)), *map(TrackedSearch, search_folders(project.home))]
    unsynced, failures = list[Unsynced](), list[Failure]()
    for one in tracked:
        if one.is_busy:
            continue
        try:
            uri, experiment = requested_destination(project, one.identity())
            if differing := differences(one, uri):
                unsynced.append(Unsynced(one, uri, experiment, differing))
        except (DamagedError, ConfigError) as error:  # ConfigError: its URI is not a store's
            failures.append(Failure(one, error))
    return unsynced, failures


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
    unsynced, failures = find_unsynced(project)
    failures += _send(project, unsynced)
    failed = [one.tracked for one in failures]
    sent = [one.tracked.run for one in unsynced if isinstance(one.tracked, TrackedRun) and one.tracked not in failed]
    shown = len(all_runs(project)) - sum(isinstance(one, TrackedRun) for one in failed)
    logger.info("MLflow at %s shows %d runs (%d brought up to date)", without_password(uri), shown, len(sent))
    for run in sent:
        if run.state() == KILLED:
            logger.info("%s: killed after epoch %d; the same command goes on", run.short, len(run.history()))
    _log(failures)
    return not failures


def synchronize_search(project: Project, folder: Path) -> None:
    """Bring MLflow up to date with a search; where that fails, it is logged, and `lenet sync` makes up for it."""
    search = TrackedSearch(folder)
    uri, experiment = requested_destination(project, search.identity())
    if differing := differences(search, uri):
        _log(_send(project, [Unsynced(search, uri, experiment, differing)]))


def _send(project: Project, unsynced: Sequence[Unsynced]) -> list[Failure]:
    """Send what the stores lack, and return what failed; a store that is away is tried once."""
    syncs: dict[tuple[str, str], RunSync] = {}
    away: dict[str, StoreAwayError] = {}
    failures = []
    for tracked, uri, experiment, _ in unsynced:
        if uri in away:
            failures.append(Failure(tracked, away[uri]))
            continue
        sync = syncs.setdefault((uri, experiment), RunSync(project, uri, experiment))
        try:
            with store_errors(uri, REMEDY):
                sync.send_tracked(tracked)
        except (LenetError, OSError) as error:
            failures.append(Failure(tracked, error))
            if isinstance(error, StoreAwayError):
                away[uri] = error
    return failures


def _log(failures: Sequence[Failure]) -> None:
    """Log one line for each reason."""
    names: dict[str, list[str]] = {}
    for tracked, error in failures:
        names.setdefault(str(error), []).append(tracked.name)
    for reason, failed in names.items():
        more = f" and {len(failed) - MAX_NAMED} more" if len(failed) > MAX_NAMED else ""
        logger.warning("not shown: %s%s: %s", ", ".join(failed[:MAX_NAMED]), more, reason)
