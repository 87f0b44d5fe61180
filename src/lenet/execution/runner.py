"""Asking for runs, with all that belongs to it: data made ready, training, pictures, MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from types import TracebackType

from lenet.config.schema import Config
from lenet.core.errors import DamagedError, RunFailedError, Stopped
from lenet.core.project import Project
from lenet.data.arrays import CARD, load_training, training_digest
from lenet.data.datasets import ensure_prepared
from lenet.data.split import split
from lenet.runs.get_or_train import RunMetadata, RunResult, get_or_train
from lenet.runs.run_dir import FINISHED, RUNNING, RunDir, run_dir_for
from lenet.tracking.background_sync import SHUTDOWN_TIMEOUT, BackgroundSync
from lenet.tracking.destination import settled
from lenet.tracking.run_ref import MlflowRunRef, recorded_run_ref
from lenet.tracking.run_sync import is_up_to_date
from lenet.tracking.store import EXPERIMENT_VARIABLE, experiment_name, tracking_uri

HURRIED_SECONDS = 10.0
"""How long a command that was told to end waits for the store; whoever sent the signal soon sends a harder one."""


say = logging.getLogger(__name__).info


def validate_resources(project: Project, config: Config) -> None:
    """Find out, before anything is written, whether a run can be trained here.

    Raises:
        ConfigError: a GPU is asked for that is not there, more images than there are, or an MLflow store that is none.
    """
    if config.trainer.accelerator == "gpu":
        from lenet.training.devices import choose_accelerator

        choose_accelerator(config)
    tracking_uri(project, config.tracking.uri)
    experiment_name(config)
    prepared = project.prepared(config.data.name)
    if (prepared / CARD).is_file():
        order = load_training(prepared).order
        split(order, config.data.train_size, config.data.validation_size)


class Runner:
    """Answers questions for runs and keeps the MLflow store beside them; a context, closed when all is asked.

    Args:
        project: where things are.
        tell: takes a line for the user.
    """

    def __init__(self, project: Project, tell: Callable[[str], None] = say) -> None:
        self.project = project
        self._tell = tell
        self._followers: dict[tuple[str, str], BackgroundSync] = {}

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(HURRIED_SECONDS if isinstance(error, Stopped | KeyboardInterrupt) else SHUTDOWN_TIMEOUT)

    def close(self, seconds: float = SHUTDOWN_TIMEOUT) -> None:
        """Wait until the stores show everything, `seconds` each at most, or say that they do not."""
        for follower in self._followers.values():
            follower.close(seconds)
        self._followers = {}

    def get_or_train(self, config: Config, origin: RunMetadata) -> RunResult:
        """Answer a question for one run: at once where it is finished, otherwise by training what is missing.

        Raises:
            RunFailedError: the training failed for a reason of its own.
            Stopped: a signal ended it.
        """
        prepared = ensure_prepared(self.project, config.data.name, self._tell)
        digest = training_digest(prepared)
        folder = run_dir_for(self.project, config, digest)
        config = self._settled(folder, config)
        follower = self._follower(config)
        if folder.state() != FINISHED:
            validate_resources(self.project, config)
        self._tell_start(folder, origin)
        try:
            outcome = get_or_train(self.project, config, digest, origin, follower.changed, self._tell)
        finally:
            if (folder.path / "run.json").is_file():
                self._show(folder, config, follower)
        return outcome

    def folder(self, config: Config) -> RunDir:
        """Return where a run is, or will be."""
        prepared = ensure_prepared(self.project, config.data.name, self._tell)
        return run_dir_for(self.project, config, training_digest(prepared))

    def run_allow_failure(self, config: Config, origin: RunMetadata) -> RunResult:
        """Answer like `get_or_train`; a run that failed is an answer too."""
        try:
            return self.get_or_train(config, origin)
        except RunFailedError as error:
            return RunResult(self.folder(config), f"failed: {error}")

    def place(self, folder: RunDir, config: Config) -> MlflowRunRef | None:
        """Return where MLflow shows a run, once it does."""
        return recorded_run_ref(folder, tracking_uri(self.project, config.tracking.uri))

    def _settled(self, folder: RunDir, config: Config) -> Config:
        """Return the config with the experiment that shows the run, and say so where that is not the one asked for."""
        found, asked = settled(self.project, folder, config), experiment_name(config)
        is_named = config.tracking.experiment is not None or bool(os.environ.get(EXPERIMENT_VARIABLE))
        if is_named and found.tracking.experiment != asked:
            self._tell(
                f"{folder.short}: MLflow shows it in experiment {found.tracking.experiment} already, and a run is shown"
                f" once: {asked} does not get it"
            )
        return found

    def _follower(self, config: Config) -> BackgroundSync:
        key = (tracking_uri(self.project, config.tracking.uri), experiment_name(config))
        if key not in self._followers:
            self._followers[key] = BackgroundSync(self.project, *key)
        return self._followers[key]

    def _tell_start(self, folder: RunDir, origin: RunMetadata) -> None:
        state = folder.state()
        if state is None:
            self._tell(f"{folder.short}  {origin.name}: training")
        elif state not in {FINISHED, RUNNING}:
            self._tell(f"{folder.short}  {origin.name}: {state.lower()} after epoch {_epochs(folder)}, asked again")

    def _show(self, folder: RunDir, config: Config, follower: BackgroundSync) -> None:
        """Draw what is not drawn yet, and have the store brought up to date where it is not."""
        from lenet.evaluation.plots.draw_run import draw_run

        try:
            draw_run(folder, self.project)
            if not is_up_to_date(folder, tracking_uri(self.project, config.tracking.uri)):
                follower.changed(folder)
        except DamagedError as error:  # the answer stands without
            self._tell(str(error))


def _epochs(folder: RunDir) -> int:
    try:
        return len(folder.history())
    except DamagedError:
        return 0
