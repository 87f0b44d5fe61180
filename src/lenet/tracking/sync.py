"""`lenet sync`: the MLflow store shows every run folder, and the registry the chosen model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lenet.core.atomic_io import remove_half_written
from lenet.core.errors import ConfigError, DamagedError, LenetError
from lenet.core.file_lock import is_held
from lenet.core.project import Project
from lenet.runs.run_dir import KILLED, RunDir, all_runs
from lenet.tracking.destination import requested_destination
from lenet.tracking.run_sync import RunSync, is_up_to_date
from lenet.tracking.search_sync import DESCRIPTION, LOCK, SEARCHES, is_search_up_to_date, read_search, search_folders
from lenet.tracking.store import StoreAwayError, follow_home, shown_uri, store_errors, tracking_uri

REMEDY = "run `lenet sync`, or ask for it again with the tracking.uri and tracking.experiment that are meant"

MAX_NAMED = 3
"""Runs that a line names of those that a store does not show."""


def unsynced_runs(project: Project, tell: Callable[[str], None] = lambda line: None) -> list[tuple[RunDir, str, str]]:
    """Return the runs whose store does not show all of them, with the store's URI and experiment.

    A run that is being trained is left to its trainer; a damaged one cannot be shown, and is told of.
    """
    found = []
    for folder in all_runs(project):
        if is_held(folder.lock):
            continue
        try:
            uri, experiment = _asked(project, folder)
            if not is_up_to_date(folder, uri):
                found.append((folder, uri, experiment))
        except DamagedError as error:
            tell(f"{folder.short}: not brought up to date: {error}")
    return found


def _asked(project: Project, folder: RunDir) -> tuple[str, str]:
    """Return where a run is to be shown; what was asked for and is no store is returned as it stands."""
    identity = folder.identity()
    try:
        return requested_destination(project, identity)
    except ConfigError:
        return str((identity.get("tracking") or identity["config"]["tracking"])["uri"]), ""


def synchronize(project: Project, tell: Callable[[str], None]) -> bool:
    """Send to MLflow what it lacks, and close there what died: a run whose process is gone is shown as KILLED.

    What is damaged, what a store refuses, and all of a store that is away, is told with what to do about it, and the
    rest is sent.

    Returns:
        Whether everything is shown.
    """
    for place in (project.runs, project.home / SEARCHES):
        remove_half_written(place)
    for uri in _stores(project):
        follow_home(project, uri)
    damaged = list[str]()
    waiting, sender = unsynced_runs(project, damaged.append), _Sender(project)
    for line in damaged:
        tell(line)
    sent = [folder for folder, uri, experiment in waiting if sender.send(uri, experiment, folder)]
    for search in search_folders(project.home):
        if not is_held(search / LOCK):
            sender.send_search(search)
    count = len(all_runs(project)) - len(damaged) - len(waiting) + len(sent)
    tell(f"MLflow at {shown_uri(tracking_uri(project))} shows {count} runs ({len(sent)} brought up to date)")
    for folder in sent:
        if folder.state() == KILLED:
            tell(
                f"{folder.short}: killed after epoch {len(folder.history())}; the command that began it goes on with it"
            )
    for reason, names in sender.unsent.items():
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        tell(f"not shown: {', '.join(names[:MAX_NAMED])}{more}: {reason}")
    return not (sender.unsent or damaged)


def _stores(project: Project) -> set[str]:
    """Return the stores that the runs were asked for with."""
    found = {tracking_uri(project)}
    for folder in all_runs(project):
        try:
            found.add(requested_destination(project, folder.identity())[0])
        except (DamagedError, ConfigError):
            continue
    return found


def unsynced_searches(project: Project) -> list[Path]:
    """Return the searches whose store does not show all of them; those at work are left to their leader."""
    found = []
    for folder in search_folders(project.home):
        try:
            is_led = is_held(folder / LOCK)
            uri, _ = requested_destination(project, read_search(folder, DESCRIPTION))
            if not is_led and not is_search_up_to_date(folder, uri):
                found.append(folder)
        except (DamagedError, ConfigError):  # the same search, asked again, writes it anew; `lenet sync` says why not
            continue
    return found


def synchronize_search(project: Project, folder: Path, tell: Callable[[str], None]) -> None:
    """Send a search's findings; a store that is away is told of, for `lenet sync` makes up for it."""
    sender = _Sender(project)
    sender.send_search(folder)
    for reason in sender.unsent:
        tell(reason)


class _Sender:
    """Sends to each store and experiment what it lacks, and remembers why not.

    Attributes:
        unsent: by the reason, the names of the runs and searches that could not be sent.
    """

    def __init__(self, project: Project) -> None:
        self.unsent: dict[str, list[str]] = {}
        self._project = project
        self._projections: dict[tuple[str, str], RunSync] = {}
        self._closed: dict[tuple[str, str], str] = {}
        """By store and experiment: why nothing can be sent there, which is tried once."""

    def send(self, uri: str, experiment: str, folder: RunDir) -> bool:
        """Send a run, and say whether that could be done."""
        return self._try(uri, experiment, folder.short, lambda projection: projection.send(folder))

    def send_search(self, folder: Path) -> None:
        """Send a search's findings where its store lacks them."""
        try:
            uri, experiment = requested_destination(self._project, read_search(folder, DESCRIPTION))
            if is_search_up_to_date(folder, uri):
                return
        except DamagedError:
            return  # the same search, asked again, writes it anew
        except ConfigError as error:
            self._keep(str(error), folder.name)
            return
        self._try(uri, experiment, folder.name, lambda projection: projection.send_search(folder))

    def _try(self, uri: str, experiment: str, name: str, action: Callable[[RunSync], object]) -> bool:
        key = (uri, experiment)
        if key not in self._closed:
            try:
                projection = self._connected(key)
            except (LenetError, OSError) as error:
                self._closed[key] = str(error)
        if key in self._closed:
            self._keep(self._closed[key], name)
            return False
        try:
            with store_errors(uri, REMEDY):
                action(projection)
        except (LenetError, OSError) as error:
            if isinstance(error, StoreAwayError):
                self._closed[key] = str(error)
            self._keep(str(error), name)
            return False
        return True

    def _connected(self, key: tuple[str, str]) -> RunSync:
        if key not in self._projections:
            projection = RunSync(self._project, *key)
            tracking_uri(self._project, key[0])  # what was asked for may be no store
            with store_errors(key[0], REMEDY):
                projection.connect()
            self._projections[key] = projection
        return self._projections[key]

    def _keep(self, reason: str, name: str) -> None:
        self.unsent.setdefault(reason, []).append(name)
