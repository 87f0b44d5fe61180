"""A trial is a run: its values make a config, the run folder answers, the study hears of every epoch."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.config.schema import Config
from lenet.core.errors import ConfigError, DamagedError, RunFailedError, RunPruned
from lenet.runs.get_or_train import RunMetadata, get_or_train, mark_pruned
from lenet.runs.run_dir import FINISHED, RunDir, run_dir_for
from lenet.search.heartbeat import trial_heartbeat
from lenet.search.spec import SearchSpec
from lenet.search.storage import storage_errors
from lenet.search.study import SearchStudy
from lenet.search.trial_attributes import FINGERPRINT, OUTCOME
from lenet.tracking.search_sync import ORIGIN

if TYPE_CHECKING:
    from optuna import Trial

MEASURE = "val/error"
NOT_TRAINED = "not trained: "
"""Start of what a table shows of a trial that was answered without training."""


@dataclass(frozen=True)
class TrialAnswer:
    """What a trial came to.

    Attributes:
        state: Optuna's name of it: COMPLETE, PRUNED or FAIL.
        values: one a objective, of a trial that is COMPLETE.
        outcome: for people and tables: how it was answered, epochs trained now, seconds, message.
    """

    state: str
    values: list[float] | None
    outcome: dict[str, Any]


class Objective:
    """Answers trials of one study in this process.

    Args:
        shared: the study.
        data_digest: digest of the prepared training data.
    """

    def __init__(self, shared: SearchStudy, data_digest: str) -> None:
        self._shared = shared
        self._question: SearchSpec = shared.question
        self._digest = data_digest

    def answer(self, trial: Trial) -> None:
        """Train what a trial asks for, as far as it is not trained and not ended early, and tell the study.

        Raises:
            Stopped: a signal ended it; the trial waits for whoever comes next.
            LenetError: the study's database, or the data, is not there.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        # A machine that slept past its heartbeats finds its trial ended: it was begun again as another.
        with suppress(UpdateFinishedTrialError), storage_errors(self._shared.storage.url):
            with trial_heartbeat(self._shared, trial):
                answer = self._answer(trial)
            trial.set_user_attr(OUTCOME, answer.outcome)
            self._shared.tell(trial, answer.values, answer.state)

    def _answer(self, trial: Trial) -> TrialAnswer:
        began = time.monotonic()
        assignment = self._question.space.suggest(trial)
        try:
            config = self._question.configure(assignment)
        except ConfigError as error:  # every end is allowed, and these values together are not
            return TrialAnswer("FAIL", None, _untrained(str(error)))
        folder = run_dir_for(self._question.project, config, self._digest)
        trial.set_user_attr(FINGERPRINT, folder.fingerprint)
        too_large = self._check_parameters(trial, config)
        if too_large:
            return TrialAnswer("PRUNED", None, _untrained(too_large))
        watch = _PruningReporter(trial, folder, config.trainer.epochs, len(self._question.search.objectives) == 1)
        origin = RunMetadata(self._name(trial), f"{ORIGIN}{self._shared.name}", self._question.overrides(assignment))
        try:
            watch.catch_up()
        except RunPruned as end:  # by epochs that a worker left behind: nothing is asked for
            with suppress(DamagedError):  # of a status that cannot be read; whoever asks for the run mends it
                mark_pruned(folder, str(end))
            return TrialAnswer("PRUNED", None, watch.outcome(str(end), began))
        try:
            outcome = get_or_train(self._question.project, config, self._digest, origin, watch.changed, _say_nothing)
        except RunPruned as end:
            return TrialAnswer("PRUNED", None, watch.outcome(str(end), began))
        except RunFailedError as error:
            return TrialAnswer("FAIL", None, watch.outcome(f"failed: {error}", began))
        watch.catch_up(may_prune=False)
        return TrialAnswer("COMPLETE", self._values(trial, folder, config), watch.outcome(outcome.answer, began))

    def _name(self, trial: Trial) -> str:
        return f"{self._question.search.name} trial={trial.number}"

    def _check_parameters(self, trial: Trial, config: Config) -> str:
        """Tell the study how far a trial is from the limit on parameters; return why it is too large, or nothing."""
        limit = self._question.search.limits.parameters
        if limit is None:
            return ""
        count = count_parameters(config)
        if "parameters" not in trial.constraints:
            trial.set_constraint("parameters", count - limit)
        return f"{count:,} parameters, the limit is {limit:,}" if count > limit else ""

    def _values(self, trial: Trial, folder: RunDir, config: Config) -> list[float]:
        search = self._question.search
        measured = {MEASURE: folder.headline()[MEASURE]}
        if "parameters" in search.objectives:
            measured["parameters"] = float(count_parameters(config))
        if "latency_ms" in search.objectives or search.limits.latency_ms is not None:
            measured["latency_ms"] = _latency(folder.path, config, folder)
        if search.limits.latency_ms is not None and "latency_ms" not in trial.constraints:
            trial.set_constraint("latency_ms", measured["latency_ms"] - search.limits.latency_ms)
        return [measured[name] for name in search.objectives]


class _PruningReporter:
    """Reports a run's epochs to its trial as they come, and ends the run when the pruner says so."""

    def __init__(self, trial: Trial, folder: RunDir, epochs: int, is_reported: bool) -> None:
        self._trial = trial
        self._folder = folder
        self._epochs = epochs
        self._is_reported = is_reported
        self._reported = 0
        self._known_before: int | None = None

    def catch_up(self, may_prune: bool = True) -> None:
        """Report what the folder holds already.

        A finished run has its value, and is not ended for having been slow at first; one that was ended early is
        ended again before anything is trained, if the pruner still says so.
        """
        if self._known_before is None:
            self._known_before = len(self._history())
        self._report(may_prune and self._folder.state() != FINISHED)

    def changed(self, folder: RunDir) -> None:
        """Report new epochs."""
        if len(self._history()) > self._reported:
            self._report(may_prune=True)

    def outcome(self, answer: str, began: float) -> dict[str, Any]:
        """Return what the tables show of the trial."""
        history = self._history()
        known_before = self._known_before or 0
        trained = sum(row["seconds"] for row in history[known_before:])
        return {
            "answer": answer,
            "epochs": len(history),
            "trained_epochs": max(0, len(history) - known_before),
            "trained_seconds": round(trained, 3),
            "seconds": round(time.monotonic() - began, 3),
            "ended": round(time.time(), 3),
        }

    def _history(self) -> list[dict[str, float]]:
        try:
            return self._folder.history()
        except DamagedError:  # as good as none: whoever asks for the run has it written anew
            return []

    def _report(self, may_prune: bool) -> None:
        for row in self._history()[self._reported :]:
            epoch = int(row["epoch"])
            self._reported = epoch
            if not self._is_reported:  # with two objectives Optuna takes no reports
                continue
            self._trial.report(row[MEASURE], epoch)
            if may_prune and epoch < self._epochs and self._trial.should_prune():
                raise RunPruned(f"pruned after epoch {epoch}")


def _untrained(why: str) -> dict[str, Any]:
    return {"answer": f"{NOT_TRAINED}{why}", "epochs": 0, "seconds": 0.0, "ended": time.time()}


def count_parameters(config: Config) -> int:
    """Return the number of trainable parameters of a config's network."""
    import torch

    from lenet.models.lenet5 import build_network

    with torch.device("meta"):  # shapes alone, no memory and no draws from the generator
        network = build_network(config.model, config.data.classes)
    return sum(parameter.numel() for parameter in network.parameters())


def _latency(path: Path, config: Config, folder: RunDir) -> float:
    from lenet.evaluation.latency import median_latency_ms
    from lenet.evaluation.predict import load_reader

    weights = folder.status()["files"]["weights.safetensors"]
    return float(median_latency_ms(load_reader(config, path / "weights.safetensors", weights)))


def _say_nothing(line: str) -> None:
    pass
