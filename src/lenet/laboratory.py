"""Asking for runs, with all that belongs to it: data made ready, training, pictures, MLflow."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import TracebackType

from lenet.asking import Origin, Outcome, ask
from lenet.config import Config
from lenet.data.prepared import CARD, load_training, training_digest
from lenet.data.sets import ensure_prepared
from lenet.data.split import split
from lenet.errors import DamagedError, RunFailedError, Stopped
from lenet.project import Project
from lenet.runs import FINISHED, RUNNING, RunFolder, locate
from lenet.tracking.asked import settled
from lenet.tracking.follower import FAREWELL_SECONDS, Follower
from lenet.tracking.place import Place, recorded_place
from lenet.tracking.projection import is_up_to_date
from lenet.tracking.store import EXPERIMENT_VARIABLE, experiment_name, tracking_uri

HURRIED_SECONDS = 10.0
"""How long a command that was told to end waits for the store; whoever sent the signal soon sends a harder one."""


def say(line: str) -> None:
    """Tell the user something on standard error, so that standard output stays the answer."""
    print(line, file=sys.stderr, flush=True)


def check_feasible(project: Project, config: Config) -> None:
    """Find out, before anything is written, whether a run can be trained here.

    Raises:
        ConfigError: a GPU is asked for that is not there, more images than there are, or an MLflow store that is none.
    """
    if config.trainer.accelerator == "gpu":
        from lenet.training.devices import choose_accelerator

        choose_accelerator(config)
    tracking_uri(project, config.tracking.uri)
    experiment_name(config.tracking.experiment)
    prepared = project.prepared(config.data.name)
    if (prepared / CARD).is_file():
        order = load_training(prepared).order
        split(order, config.data.train_size, config.data.validation_size)


class Laboratory:
    """Answers questions for runs and keeps the MLflow store beside them; a context, closed when all is asked.

    Args:
        project: where things are.
        tell: takes a line for the user.
    """

    def __init__(self, project: Project, tell: Callable[[str], None] = say) -> None:
        self.project = project
        self._tell = tell
        self._followers: dict[tuple[str, str], Follower] = {}

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(HURRIED_SECONDS if isinstance(error, Stopped | KeyboardInterrupt) else FAREWELL_SECONDS)

    def close(self, seconds: float = FAREWELL_SECONDS) -> None:
        """Wait until the stores show everything, `seconds` each at most, or say that they do not."""
        for follower in self._followers.values():
            follower.close(seconds)
        self._followers = {}

    def ask(self, config: Config, origin: Origin) -> Outcome:
        """Answer a question for one run: at once where it is finished, otherwise by training what is missing.

        Raises:
            RunFailedError: the training failed for a reason of its own.
            Stopped: a signal ended it.
        """
        prepared = ensure_prepared(self.project, config.data.name, self._tell)
        digest = training_digest(prepared)
        folder = locate(self.project, config, digest)
        config = self._settled(folder, config)
        follower = self._follower(config)
        if folder.state() != FINISHED:
            check_feasible(self.project, config)
        self._tell_start(folder, origin)
        try:
            outcome = ask(self.project, config, digest, origin, follower.changed, self._tell)
        finally:
            if (folder.path / "run.json").is_file():
                self._show(folder, config, follower)
        return outcome

    def folder(self, config: Config) -> RunFolder:
        """Return where a run is, or will be."""
        prepared = ensure_prepared(self.project, config.data.name, self._tell)
        return locate(self.project, config, training_digest(prepared))

    def try_to_ask(self, config: Config, origin: Origin) -> Outcome:
        """Answer like `ask`; a run that failed is an answer too."""
        try:
            return self.ask(config, origin)
        except RunFailedError as error:
            return Outcome(self.folder(config), f"failed: {error}")

    def place(self, folder: RunFolder, config: Config) -> Place | None:
        """Return where MLflow shows a run, once it does."""
        return recorded_place(folder, tracking_uri(self.project, config.tracking.uri))[0]

    def _settled(self, folder: RunFolder, config: Config) -> Config:
        """Return the config with the experiment that shows the run, and say so where that is not the one asked for."""
        found, asked = settled(self.project, folder, config), experiment_name(config.tracking.experiment)
        is_named = config.tracking.experiment is not None or bool(os.environ.get(EXPERIMENT_VARIABLE))
        if is_named and found.tracking.experiment != asked:
            self._tell(
                f"{folder.short}: MLflow shows it in experiment {found.tracking.experiment} already, and a run is shown"
                f" once: {asked} does not get it"
            )
        return found

    def _follower(self, config: Config) -> Follower:
        key = (tracking_uri(self.project, config.tracking.uri), experiment_name(config.tracking.experiment))
        if key not in self._followers:
            self._followers[key] = Follower(self.project, *key, self._tell)
        return self._followers[key]

    def _tell_start(self, folder: RunFolder, origin: Origin) -> None:
        state = folder.state()
        if state is None:
            self._tell(f"{folder.short}  {origin.name}: training")
        elif state not in {FINISHED, RUNNING}:
            self._tell(f"{folder.short}  {origin.name}: {state.lower()} after epoch {_epochs(folder)}, asked again")

    def _show(self, folder: RunFolder, config: Config, follower: Follower) -> None:
        """Draw what is not drawn yet, and have the store brought up to date where it is not."""
        from lenet.evaluation.pictures import draw_run

        try:
            draw_run(folder, self.project)
            if not is_up_to_date(folder, tracking_uri(self.project, config.tracking.uri)):
                follower.changed(folder)
        except DamagedError as error:  # the answer stands without
            self._tell(str(error))


def _epochs(folder: RunFolder) -> int:
    try:
        return len(folder.history())
    except DamagedError:
        return 0
