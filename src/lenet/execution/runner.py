"""Get or train runs together with what belongs to them: prepared data, figures, and their MLflow runs."""

from __future__ import annotations

import logging
import os
from types import TracebackType

import numpy as np

from lenet.config.schema import Config
from lenet.core.errors import DamagedError, RunFailedError, Stopped
from lenet.core.project import Project
from lenet.data.arrays import CARD, TRAIN_ARRAYS, training_digest
from lenet.data.datasets import ensure_prepared
from lenet.data.split import split
from lenet.runs.get_or_train import RunMetadata, RunResult, get_or_train
from lenet.runs.run_dir import FINISHED, RUNNING, RunDir, run_dir_for
from lenet.tracking.background_sync import SHUTDOWN_TIMEOUT, BackgroundSync
from lenet.tracking.destination import with_experiment
from lenet.tracking.run_ref import MlflowRunRef, recorded_run_ref
from lenet.tracking.run_sync import is_up_to_date
from lenet.tracking.store import EXPERIMENT_VARIABLE, experiment_name, tracking_uri

logger = logging.getLogger(__name__)

STOPPED_TIMEOUT = 10.0
"""Seconds that a command which a signal ended waits for MLflow; a harder signal may follow soon."""


def validate_resources(project: Project, config: Config) -> None:
    """Check, before anything is written, that a run can be trained here.

    Raises:
        ConfigError: there is no such GPU, there are fewer images than the config needs, or the MLflow store's
            address is not one.
    """
    if config.trainer.accelerator == "gpu":
        from lenet.training.devices import choose_accelerator

        choose_accelerator(config)
    tracking_uri(project, config.tracking.uri)
    experiment_name(config)
    prepared = project.prepared(config.data.name)
    if (prepared / CARD).is_file():
        order = np.load(prepared / TRAIN_ARRAYS[-1], mmap_mode="r")  # only its length is read
        split(order, config.data.train_size, config.data.validation_size)


class Runner:
    """Gets or trains runs and keeps MLflow up to date meanwhile; a context, which waits for MLflow at its end."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._syncs: dict[tuple[str, str], BackgroundSync] = {}

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = STOPPED_TIMEOUT if isinstance(error, Stopped | KeyboardInterrupt) else SHUTDOWN_TIMEOUT
        for sync in self._syncs.values():
            sync.close(seconds)
        self._syncs = {}

    def get_or_train(self, config: Config, metadata: RunMetadata, may_fail: bool = False) -> RunResult:
        """Return the result of a run: at once where it is finished, otherwise after training what is missing.

        Args:
            config: the run.
            metadata: recorded with the run.
            may_fail: return the result `failed: …` of a training that fails for a reason of its own.

        Raises:
            RunFailedError: the training failed for a reason of its own, and must not.
            Stopped: a signal ended it.
        """
        run_dir = self.run_dir(config)
        config = self._with_experiment(run_dir, config)
        sync = self._sync(config)
        state = run_dir.state()
        if state != FINISHED:
            validate_resources(self.project, config)
            sync.start()
        if state is None:
            logger.info(f"{run_dir.short}  {metadata.name}: training")
        elif state not in {FINISHED, RUNNING}:
            logger.info(f"{run_dir.short}  {metadata.name}: was {state.lower()} after epoch {_epochs(run_dir)}")
        digest = training_digest(self.project.prepared(config.data.name))
        try:
            return get_or_train(self.project, config, digest, metadata, sync.changed)
        except RunFailedError as error:
            if not may_fail:
                raise
            return RunResult(run_dir, f"failed: {error}")
        finally:
            if (run_dir.path / "run.json").is_file():
                self._draw_and_sync(run_dir, config, sync)

    def run_dir(self, config: Config) -> RunDir:
        """Return a run's directory, whether it exists or not; the data is fetched and prepared where it is missing."""
        prepared = ensure_prepared(self.project, config.data.name)
        return run_dir_for(self.project, config, training_digest(prepared))

    def mlflow_run(self, run_dir: RunDir, config: Config) -> MlflowRunRef | None:
        """Return the MLflow run that shows a run, or None while there is none."""
        return recorded_run_ref(run_dir, tracking_uri(self.project, config.tracking.uri))

    def _with_experiment(self, run_dir: RunDir, config: Config) -> Config:
        """Return the config with the experiment that shows the run; report where that is not the requested one."""
        found, requested = with_experiment(self.project, run_dir, config), experiment_name(config)
        is_named = config.tracking.experiment is not None or bool(os.environ.get(EXPERIMENT_VARIABLE))
        if is_named and found.tracking.experiment != requested:
            logger.info(
                f"{run_dir.short}: stays in MLflow's experiment {found.tracking.experiment}; a run is in one"
                f" experiment, so {requested} does not show it"
            )
        return found

    def start_sync(self, config: Config) -> None:
        """Have MLflow imported and the run's store opened while others import torch, and return at once."""
        self._sync(config).start()

    def _sync(self, config: Config) -> BackgroundSync:
        key = (tracking_uri(self.project, config.tracking.uri), experiment_name(config))
        if key not in self._syncs:
            self._syncs[key] = BackgroundSync(self.project, *key)
        return self._syncs[key]

    def _draw_and_sync(self, run_dir: RunDir, config: Config, sync: BackgroundSync) -> None:
        """Draw the figures that are missing, and bring MLflow up to date where it is not."""
        draw(run_dir, self.project)
        try:
            if not is_up_to_date(run_dir, tracking_uri(self.project, config.tracking.uri)):
                sync.changed(run_dir)
        except DamagedError as error:
            logger.warning(str(error))


def draw(run_dir: RunDir, project: Project) -> None:
    """Draw the figures of a run that are missing; a result stands without them."""
    from lenet.evaluation.plots.run import draw_run

    try:
        draw_run(run_dir, project)
    except DamagedError as error:
        logger.warning(str(error))


def _epochs(run_dir: RunDir) -> int:
    try:
        return len(run_dir.history())
    except DamagedError:
        return 0
