"""Run one trial: train its config (or return the stored run), report every epoch, prune."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lenet.config.schema import Config
from lenet.core.errors import ConfigError, DamagedError, RunFailedError, RunPruned
from lenet.runs.get_or_train import RunMetadata, get_or_train, mark_pruned
from lenet.runs.run_dir import FINISHED, RunDir, run_dir_for
from lenet.search.heartbeat import trial_heartbeat
from lenet.search.search_config import VALIDATION_ERROR
from lenet.search.search_space import Assignment
from lenet.search.spec import SearchSpec
from lenet.search.storage import storage_errors
from lenet.search.study import SearchStudy
from lenet.search.trial_records import FINGERPRINT, RESULT
from lenet.tracking.destination import with_experiment
from lenet.tracking.entities import ORIGIN

if TYPE_CHECKING:
    from optuna import Trial


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended.

    Attributes:
        state: Optuna's name of it: COMPLETE, PRUNED or FAIL.
        values: one per objective, of a trial that is COMPLETE.
        attributes: for tables: status, epochs, seconds.
    """

    state: str
    values: list[float] | None
    attributes: dict[str, Any]


class Objective:
    """The objective function of a search.

    Args:
        study: the study.
        data_digest: digest of the prepared training data.
    """

    def __init__(self, study: SearchStudy, data_digest: str) -> None:
        self._study = study
        self._spec: SearchSpec = study.spec
        self._digest = data_digest

    def run(self, trial: Trial) -> None:
        """Train a trial's run as far as it is not trained and not pruned, and finish the trial in the study.

        Raises:
            Stopped: a signal ended it; the trial is requeued.
            LenetError: the study's database, or the data, is not there.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        # A machine that slept past its heartbeats finds its trial finished: it was retried as another.
        with suppress(UpdateFinishedTrialError), storage_errors(self._study.storage.url):
            with trial_heartbeat(self._study, trial):
                result = self._run(trial)
            trial.set_user_attr(RESULT, result.attributes)
            self._study.finish(trial, result.values, result.state)

    def _run(self, trial: Trial) -> TrialResult:
        spec = self._spec
        assignment = spec.space.suggest(trial)
        try:
            config = spec.config_for(assignment)
        except ConfigError as error:  # both ends are allowed, and these values together are not
            return TrialResult("FAIL", None, _untrained(str(error)))
        folder = run_dir_for(spec.project, config, self._digest)
        trial.set_user_attr(FINGERPRINT, folder.fingerprint)
        if reason := self._exceeds_parameters(trial, config):
            return TrialResult("PRUNED", None, _untrained(reason))
        viewed = self._study.in_view(trial) if len(spec.search.objectives) == 1 else None
        reporter = _PruningReporter(trial, viewed, folder, config.trainer.epochs)
        try:
            return self._train(trial, assignment, folder, config, reporter)
        finally:
            if viewed is not None:
                self._study.keep_attributes(trial, viewed)

    def _train(
        self, trial: Trial, assignment: Assignment, folder: RunDir, config: Config, reporter: _PruningReporter
    ) -> TrialResult:
        spec, began = self._spec, time.monotonic()
        name, sweep = f"{spec.search.name} trial={trial.number}", f"{ORIGIN}{self._study.name}"
        metadata = RunMetadata(name, sweep, spec.train_overrides(assignment))
        try:
            reporter.report_stored()
        except RunPruned as end:  # by the epochs of an earlier worker: nothing is trained
            with suppress(DamagedError):  # of the status; get_or_train repairs it
                mark_pruned(folder, str(end))
            return TrialResult("PRUNED", None, reporter.attributes(str(end), began))
        try:
            config = with_experiment(spec.project, folder, config)
            done = get_or_train(spec.project, config, self._digest, metadata, reporter.report_new)
        except RunPruned as end:
            return TrialResult("PRUNED", None, reporter.attributes(str(end), began))
        except RunFailedError as error:
            return TrialResult("FAIL", None, reporter.attributes(f"failed: {error}", began))
        reporter.report_stored(may_prune=False)
        return TrialResult("COMPLETE", self._values(trial, folder, config), reporter.attributes(done.outcome, began))

    def _exceeds_parameters(self, trial: Trial, config: Config) -> str:
        """Set the constraint on the number of parameters; return why the network is too large, or nothing."""
        limit = self._spec.search.limits.parameters
        if limit is None:
            return ""
        number = count_parameters(config)
        if "parameters" not in trial.constraints:
            trial.set_constraint("parameters", number - limit)
        return f"{number:,} parameters, the limit is {limit:,}" if number > limit else ""

    def _values(self, trial: Trial, folder: RunDir, config: Config) -> list[float]:
        search = self._spec.search
        measured = {VALIDATION_ERROR: folder.headline()[VALIDATION_ERROR]}
        if "parameters" in search.objectives:
            measured["parameters"] = float(count_parameters(config))
        if "latency_ms" in search.objectives or search.limits.latency_ms is not None:
            measured["latency_ms"] = _latency(folder)
        if search.limits.latency_ms is not None and "latency_ms" not in trial.constraints:
            trial.set_constraint("latency_ms", measured["latency_ms"] - search.limits.latency_ms)
        return [measured[name] for name in search.objectives]


class _PruningReporter:
    """Reports a run's epochs to its trial, and raises RunPruned when the pruner says so.

    Args:
        trial: the trial.
        viewed: the same among the trials that it is compared with; None for two objectives: Optuna takes no reports.
        folder: the run.
        epochs: of the run.
    """

    def __init__(self, trial: Trial, viewed: Trial | None, folder: RunDir, epochs: int) -> None:
        self._trial = trial
        self._viewed = viewed
        self._folder = folder
        self._epochs = epochs
        self._last_epoch = 0
        self._stored_epochs = len(self._history())

    def report_stored(self, may_prune: bool = True) -> None:
        """Report the stored epochs.

        A finished run is not pruned for a slow start; a pruned one is pruned again before it is trained, if the
        pruner still says so.
        """
        self._report(may_prune and self._folder.state() != FINISHED)

    def report_new(self, folder: RunDir) -> None:
        """Report what was trained since the last call."""
        self._report(may_prune=True)

    def attributes(self, status: str, began: float) -> dict[str, Any]:
        """Return the trial's RESULT."""
        history = self._history()
        trained = history[self._stored_epochs :]
        return {
            "status": status,
            "epochs": len(history),
            "trained_epochs": len(trained),
            "trained_seconds": round(sum(row["seconds"] for row in trained), 3),
            "seconds": round(time.monotonic() - began, 3),
            "ended": round(time.time(), 3),
        }

    def _history(self) -> list[dict[str, float]]:
        try:
            return self._folder.history()
        except DamagedError:  # get_or_train writes it anew
            return []

    def _report(self, may_prune: bool) -> None:
        for row in self._history()[self._last_epoch :]:
            epoch = self._last_epoch = int(row["epoch"])
            if self._viewed is None:
                continue
            for one in (self._trial, self._viewed):
                one.report(row[VALIDATION_ERROR], epoch)
            if may_prune and epoch < self._epochs and self._viewed.should_prune():
                raise RunPruned(f"pruned after epoch {epoch}")


def _untrained(reason: str) -> dict[str, Any]:
    return {"status": f"not trained: {reason}", "epochs": 0, "seconds": 0.0, "ended": time.time()}


def count_parameters(config: Config) -> int:
    """Return the number of trainable parameters of a config's network."""
    import torch

    from lenet.models.classifier import build_classifier

    with torch.device("meta"):  # shapes alone: no memory, no random numbers
        network = build_classifier(config).network
    return sum(parameter.numel() for parameter in network.parameters())


def _latency(folder: RunDir) -> float:
    from lenet.evaluation.latency import measure_latency
    from lenet.evaluation.trained_model import from_run

    return measure_latency(from_run(folder).load()).median_ms
