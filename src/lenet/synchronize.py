"""`lenet sync`: the MLflow store shows every run folder, and the registry the chosen model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lenet.durable import remove_half_written
from lenet.errors import ConfigError, DamagedError, LenetError
from lenet.locks import is_held
from lenet.project import Project
from lenet.runs import KILLED, RunFolder, all_runs
from lenet.tracking.projection import Projection, is_up_to_date
from lenet.tracking.searches import DESCRIPTION, LOCK, is_search_up_to_date, read_search, search_folders
from lenet.tracking.store import follow_home, shown_uri, store_errors, tracking_uri


def outdated(project: Project, tell: Callable[[str], None] = lambda line: None) -> list[tuple[RunFolder, str, str]]:
    """Return the runs whose store does not show all of them, with the store's URI and experiment.

    A run that is being trained is left to its trainer; a damaged one cannot be shown, and is told of.
    """
    found = []
    for folder in all_runs(project):
        if is_held(folder.lock):
            continue
        try:
            tracking = folder.identity()["config"]["tracking"]
            uri = tracking_uri(project, tracking["uri"])
            if not is_up_to_date(folder, uri):
                found.append((folder, uri, tracking["experiment"]))
        except (DamagedError, ConfigError) as error:
            tell(f"{folder.short}: not brought up to date: {error}")
    return found


def synchronize(project: Project, tell: Callable[[str], None]) -> None:
    """Send to MLflow what it lacks, and close there what died: a run whose process is gone is shown as KILLED.

    Raises:
        LenetError: a store cannot be reached.
    """
    for place in (*(run.path for run in all_runs(project)), *search_folders(project.home)):
        remove_half_written(place)
    for uri in _stores(project):
        follow_home(project, uri)
    waiting = outdated(project, tell)
    projections: dict[tuple[str, str], Projection] = {}
    for folder, uri, experiment in waiting:
        projection = projections.setdefault((uri, experiment), Projection(project, uri, experiment))
        _send(projection, folder, uri)
    count = len(all_runs(project))
    killed = [folder for folder, _, _ in waiting if folder.state() == KILLED]
    for search in search_folders(project.home):
        if not is_held(search / LOCK):
            _send_search(project, search, projections)
    tell(f"MLflow at {shown_uri(tracking_uri(project))} shows {count} runs ({len(waiting)} brought up to date)")
    for folder in killed:
        tell(f"{folder.short}: killed after epoch {len(folder.history())}; the command that began it goes on with it")


def _stores(project: Project) -> set[str]:
    """Return the stores that the runs were asked for with."""
    found = {tracking_uri(project)}
    for folder in all_runs(project):
        try:
            found.add(tracking_uri(project, folder.identity()["config"]["tracking"]["uri"]))
        except (DamagedError, ConfigError):
            continue
    return found


def synchronize_search(project: Project, folder: Path, tell: Callable[[str], None]) -> None:
    """Send a search's findings; a store that is away is told of, for `lenet sync` makes up for it."""
    try:
        _send_search(project, folder, {})
    except LenetError as error:
        tell(str(error))


def _send_search(project: Project, folder: Path, projections: dict[tuple[str, str], Projection]) -> None:
    try:
        tracking = read_search(folder, DESCRIPTION)["tracking"]
        uri = tracking_uri(project, tracking["uri"])
        if is_search_up_to_date(folder, uri):
            return
    except DamagedError:
        return  # the same search, asked again, writes it anew
    key = (uri, tracking["experiment"])
    projection = projections.setdefault(key, Projection(project, *key))
    with store_errors(uri, "run `lenet sync` again"):
        projection.send_search(folder)


def _send(projection: Projection, folder: RunFolder, uri: str) -> None:
    with store_errors(uri, "run `lenet sync` again"):
        projection.send(folder)
