"""An Optuna study shared by worker processes: claim trials, requeue those of dead workers, spend the budget."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from lenet.search.proposal import can_propose, in_view, propose
from lenet.search.spec import SearchSpec
from lenet.search.storage import STUDY_LOCK, StudyStorage, storage_errors
from lenet.search.trial_records import Counts, TrialRecord, count, trial_records

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

WORKER = "lenet.worker"
"""User attribute of a trial: the worker that runs it, or ran it last."""

WORKERS = "lenet.workers"
"""User attribute of a study: how many workers registered so far."""

SESSION = "lenet.session."
"""Prefix of a study's user attributes that hold the start and the end of each session."""

SECONDS_A_MINUTE = 60.0


class SearchStudy:
    """The study of a search, as one process sees it; it is created where there is none.

    Args:
        spec: the search.
        storage: the study's database.
        name: the study's name.

    Raises:
        LenetError: the database does not answer.
    """

    def __init__(self, spec: SearchSpec, storage: StudyStorage, name: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.spec = spec
        self.storage = storage
        self.name = name
        with storage_errors(storage.url), storage.lock(name, STUDY_LOCK):
            self.study: Study = optuna.create_study(
                storage=storage.database,
                study_name=name,
                directions=["minimize"] * len(spec.search.objectives),
                sampler=optuna.samplers.RandomSampler(),  # trials come with their parameters
                load_if_exists=True,
            )
            self._study_id = storage.database.get_study_id_from_name(name)

    def trials(self) -> Sequence[FrozenTrial]:
        """Return the trials of this budget, by number: of a study with a larger one, the first.

        Trials that missed their heartbeats and were retried as others are left out.
        """
        from optuna.storages import RetryHeartbeatStaleTrialCallback

        trials = self.study.get_trials(deepcopy=False)
        with _no_experimental_warnings():
            retried = {number for one in trials for number in RetryHeartbeatStaleTrialCallback.retry_history(one)}
        return [one for one in trials if one.number not in retried][: self.spec.search.trials]

    def records(self) -> list[TrialRecord]:
        """Return `trials()` as records."""
        return trial_records(self.trials(), self.spec.search.objectives)

    def snapshot(self, trials: Sequence[FrozenTrial]) -> Study:
        """Return a study in memory that holds `trials` as they are, whatever other processes add."""
        import optuna

        read = {one.number: one for one in trials}
        every = self.study.get_trials(deepcopy=False)[: max(read, default=-1) + 1]
        copy = optuna.create_study(study_name=self.name, directions=self.study.directions)
        copy.add_trials(read.get(one.number, one) for one in every)
        return copy

    def trial_id(self, trial: Trial | FrozenTrial) -> int:
        """Return the id by which the database knows a trial."""
        return self.storage.database.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def register_worker(self, until: ExitStack) -> int:
        """Return a worker's number, never given before; its lock is held until the stack is closed."""
        with storage_errors(self.storage.url), self.storage.lock(self.name, STUDY_LOCK):
            number = int(self.study.user_attrs.get(WORKERS, 0)) + 1
            self.study.set_user_attr(WORKERS, number)
            if not self.storage.try_lock(self.name, worker_lock(number), until):
                raise AssertionError(f"the lock of worker {number} is held")
        return number

    def claim(self, worker: int) -> Trial | None:
        """Take the next trial: a requeued one, or a new one while the budget lasts; None where there is none now.

        The budget, and what a proposal depends on, are numbers of trials, so one process claims at a time.
        """
        with storage_errors(self.storage.url), self.storage.lock(self.name, STUDY_LOCK):
            self._requeue_lost()
            counts = count(self.trials())
            with _no_experimental_warnings():
                if counts.waiting == 0:
                    every = self.study.get_trials(deepcopy=False)
                    if not self._has_budget(counts) or not can_propose(self.spec, every):
                        return None
                    self.study.add_trial(propose(self.spec, self.name, every))
                trial = self.study.ask()
            trial.set_user_attr(WORKER, worker)
            self.storage.database.record_heartbeat(self.trial_id(trial))
            return trial

    def in_view(self, trial: Trial) -> Trial:
        """Return a trial again in memory, to be pruned there; see `proposal.in_view`."""
        with _no_experimental_warnings():
            return in_view(self.spec, self.name, self.study.get_trials(deepcopy=False), trial.number)

    def keep_attributes(self, trial: Trial, viewed: Trial) -> None:
        """Record what a pruner noted of a trial in memory: later trials are compared with it."""
        for name, value in viewed.study.get_trials(deepcopy=False)[-1].system_attrs.items():
            self.storage.database.set_trial_system_attr(self.trial_id(trial), name, value)

    def finish(self, trial: Trial, values: list[float] | None, state: str) -> None:
        """Record how a trial ended.

        Args:
            trial: the trial.
            values: one per objective, of a trial that is COMPLETE.
            state: Optuna's name of it: COMPLETE, PRUNED or FAIL.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            self.study.tell(trial, values, state=TrialState[state])
        except (UpdateFinishedTrialError, ValueError):
            if not self.study.get_trials(deepcopy=False)[trial.number].state.is_finished():
                raise  # otherwise this machine slept past its heartbeats, and the trial was retried

    def requeue(self, trial: Trial | FrozenTrial) -> bool:
        """Leave a trial, with its parameters and its epochs so far, to the next worker; say whether it was open."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            # Optuna takes waiting trials first; a trial that has its parameters keeps them, and its number.
            self.storage.database.set_trial_state_values(self.trial_id(trial), state=TrialState.WAITING)
        except UpdateFinishedTrialError:
            return False
        return True

    def requeue_lost(self) -> int:
        """Requeue the trials of dead workers and return how many there were."""
        with storage_errors(self.storage.url), self.storage.lock(self.name, STUDY_LOCK):
            return self._requeue_lost()

    def _requeue_lost(self) -> int:
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        lost = []
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            worker = trial.user_attrs.get(WORKER)
            # A trial is claimed and signed in one step under the lock: one without a worker was lost in between.
            if worker is None or not self.storage.is_locked(self.name, worker_lock(worker)):
                lost.append(trial)
        requeued = sum(self.requeue(trial) for trial in lost)
        with _no_experimental_warnings():
            fail_stale_trials(self.study)  # of a machine that hangs: its locks are held, its heartbeats missing
        return requeued

    def is_over(self) -> bool:
        """Say whether the budget is spent and no trial is open."""
        counts = count(self.trials())
        return not counts.waiting and not counts.running and not self._has_budget(counts)

    def _has_budget(self, counts: Counts) -> bool:
        search = self.spec.search
        has_trials = search.trials is None or counts.all < search.trials
        return has_trials and (search.minutes is None or self.spent_seconds() < search.minutes * SECONDS_A_MINUTE)

    def spent_seconds(self) -> float:
        """Return the time of all sessions; time in which several overlapped counts once."""
        spans = sorted(span for key, span in self.study.user_attrs.items() if key.startswith(SESSION))
        spent, end = 0.0, float("-inf")
        for began, last in spans:
            spent += max(0.0, last - max(began, end))
            end = max(end, last)
        return spent

    def record_time(self, session: str, began: float) -> None:
        """Record that a session, with a unique name, has worked from `began` until now."""
        self.study.set_user_attr(f"{SESSION}{session}", [began, time.time()])


def worker_lock(number: int) -> str:
    """Return the name of the lock that a worker holds while it lives."""
    return f"worker-{number}"


@contextmanager
def _no_experimental_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
