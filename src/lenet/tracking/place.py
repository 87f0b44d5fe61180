"""Where a run is shown, as its folder remembers it for each store."""

from __future__ import annotations

from dataclasses import dataclass

from lenet.durable import read_json, write_json
from lenet.errors import DamagedError
from lenet.runs import RunFolder

RECORD = "mlflow.json"


@dataclass(frozen=True)
class Place:
    """Where a run is shown: the store, its experiment and the run's id there."""

    uri: str
    experiment_id: str
    run_id: str


def recorded_place(folder: RunFolder, uri: str) -> tuple[Place | None, str]:
    """Return where the run was last projected to at `uri`, and the token of what was."""
    try:
        found = read_json(folder.path / RECORD)["stores"].get(uri)
    except (FileNotFoundError, DamagedError):  # the store itself is asked instead
        return None, ""
    return (Place(uri, found["experiment_id"], found["run_id"]), found["token"]) if found else (None, "")


def record_place(folder: RunFolder, place: Place, token: str) -> None:
    """Have a folder remember where it was projected to, and the token of what was."""
    path = folder.path / RECORD
    try:
        stores = read_json(path)["stores"]
    except (FileNotFoundError, DamagedError):
        stores = {}
    entry = {"experiment_id": place.experiment_id, "run_id": place.run_id, "token": token}
    if stores.get(place.uri) != entry:
        write_json(path, {"stores": stores | {place.uri: entry}})
