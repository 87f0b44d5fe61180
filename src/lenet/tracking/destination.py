"""Where runs are to be shown: in the store and experiment that were asked for last, and in one experiment a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lenet.config.schema import Config
from lenet.core.errors import ConfigError, DamagedError
from lenet.core.project import Project
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_ref import recorded_run_ref
from lenet.tracking.store import experiment_name, holds_run, tracking_uri

TRACKING = "tracking"
"""Key of run.json and search.json: the store and the experiment that were asked for last, as the config has them."""


def requested_destination(project: Project, identity: Mapping[str, Any]) -> tuple[str, str]:
    """Return the store's URI and the experiment that a run (run.json) or a search (search.json) is to be shown in.

    Raises:
        ConfigError: what was asked for then is no store.
    """
    tracking = identity.get(TRACKING) or identity["config"][TRACKING]
    return tracking_uri(project, tracking["uri"]), experiment_name(tracking["experiment"])


def settled(project: Project, folder: RunDir, config: Config) -> Config:
    """Return a run's config with the experiment that is to show it: as asked, unless its store shows it in another.

    MLflow cannot move a run, and a run that is shown twice is counted twice.

    Raises:
        ConfigError: `tracking.uri` is no store.
    """
    asked = tracking_uri(project, config.tracking.uri), experiment_name(config.tracking.experiment)
    experiment = asked[1]
    try:
        known = requested_destination(project, folder.identity())
    except (FileNotFoundError, DamagedError, ConfigError):
        known = asked
    if known[0] == asked[0]:
        place = recorded_run_ref(folder, asked[0])[0]
        if place is not None and holds_run(place.uri, place.run_id) is not False:
            experiment = known[1]
    return replace(config, tracking=replace(config.tracking, experiment=experiment))
