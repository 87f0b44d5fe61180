"""Where runs are to be shown: in the store and experiment that were asked for last, and in one experiment a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lenet.config import Config
from lenet.errors import ConfigError, DamagedError
from lenet.project import Project
from lenet.runs import RunFolder
from lenet.tracking.place import recorded_place
from lenet.tracking.store import experiment_name, holds_run, tracking_uri

TRACKING = "tracking"
"""Key of run.json and search.json: the store and the experiment that were asked for last, as the config has them."""


def asked_place(project: Project, identity: Mapping[str, Any]) -> tuple[str, str]:
    """Return the store's URI and the experiment that a run (run.json) or a search (search.json) is to be shown in.

    Raises:
        ConfigError: what was asked for then is no store.
    """
    tracking = identity.get(TRACKING) or identity["config"][TRACKING]
    return tracking_uri(project, tracking["uri"]), experiment_name(tracking["experiment"])


def settled(project: Project, folder: RunFolder, config: Config) -> Config:
    """Return a run's config with the experiment that is to show it: as asked, unless its store shows it in another.

    MLflow cannot move a run, and a run that is shown twice is counted twice.

    Raises:
        ConfigError: `tracking.uri` is no store.
    """
    asked = tracking_uri(project, config.tracking.uri), experiment_name(config.tracking.experiment)
    experiment = asked[1]
    try:
        known = asked_place(project, folder.identity())
    except (FileNotFoundError, DamagedError, ConfigError):
        known = asked
    if known[0] == asked[0]:
        place = recorded_place(folder, asked[0])[0]
        if place is not None and holds_run(place.uri, place.run_id) is not False:
            experiment = known[1]
    return replace(config, tracking=replace(config.tracking, experiment=experiment))
