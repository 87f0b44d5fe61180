"""The store and the experiment of a run: those of its last request, and one experiment a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lenet.config.schema import Config
from lenet.core.errors import ConfigError, DamagedError
from lenet.core.project import Project
from lenet.runs.run_dir import TRACKING, RunDir
from lenet.tracking.run_ref import recorded_run_ref
from lenet.tracking.sqlite_store import holds_run
from lenet.tracking.store import experiment_name, tracking_uri


def requested_destination(project: Project, identity: Mapping[str, Any]) -> tuple[str, str]:
    """Return the store's URI and the experiment of a run (run.json) or a search (search.json).

    Raises:
        ConfigError: the URI is not a store's.
    """
    tracking = identity.get(TRACKING) or identity["config"][TRACKING]
    return tracking_uri(project, tracking["uri"]), tracking["experiment"]


def with_experiment(project: Project, folder: RunDir, config: Config) -> Config:
    """Return a run's config with the name of its experiment: the requested one, unless its store has it in another.

    MLflow cannot move a run, and a run that is shown twice is counted twice.

    Raises:
        ConfigError: `tracking.uri` is not a store's.
    """
    uri, experiment = tracking_uri(project, config.tracking.uri), experiment_name(config)
    try:
        known_uri, known_experiment = requested_destination(project, folder.identity())
    except (FileNotFoundError, DamagedError, ConfigError):
        known_uri, known_experiment = uri, experiment
    if known_uri == uri:
        ref = recorded_run_ref(folder, uri)
        if ref is not None and holds_run(ref.uri, ref.run_id) is not False:
            experiment = known_experiment
    return replace(config, tracking=replace(config.tracking, experiment=experiment))
