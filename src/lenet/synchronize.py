"""`lenet sync`: the MLflow store shows every run folder, and the registry the chosen model."""

from __future__ import annotations

from collections.abc import Callable

from lenet.errors import DamagedError, LenetError
from lenet.locks import is_held
from lenet.project import Project
from lenet.runs import KILLED, RunFolder, all_runs
from lenet.tracking.projection import Projection, is_up_to_date
from lenet.tracking.store import be_patient, reason, shown_uri, tracking_uri


def outdated(project: Project) -> list[tuple[RunFolder, str, str]]:
    """Return the runs whose store does not show all of them, with the store's URI and experiment.

    A run that is being trained is left to its trainer; a damaged one cannot be shown.
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
        except DamagedError:
            continue
    return found


def synchronize(project: Project, tell: Callable[[str], None]) -> None:
    """Send to MLflow what it lacks, and close there what died: a run whose process is gone is shown as KILLED.

    Raises:
        LenetError: a store cannot be reached.
    """
    waiting = outdated(project)
    projections: dict[tuple[str, str], Projection] = {}
    for folder, uri, experiment in waiting:
        projection = projections.setdefault((uri, experiment), Projection(project, uri, experiment))
        _send(projection, folder, uri)
    count = len(all_runs(project))
    killed = [folder for folder, _, _ in waiting if folder.state() == KILLED]
    tell(f"MLflow at {shown_uri(tracking_uri(project))} shows {count} runs ({len(waiting)} brought up to date)")
    for folder in killed:
        tell(f"{folder.short}: killed after epoch {len(folder.history())}; the command that began it goes on with it")


def _send(projection: Projection, folder: RunFolder, uri: str) -> None:
    be_patient()
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        projection.send(folder)
    except (MlflowException, RequestException) as error:
        raise LenetError(
            f"MLflow at {shown_uri(uri)}: {reason(uri, error)}; start it and run `lenet sync` again"
        ) from error
