"""A study whose workers have seats: who takes which trial, and what becomes of the trials of those who are gone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from lenet.search.counts import Counts, count
from lenet.search.storage import WATCH, StudyStorage, storage_errors
from lenet.search.trial_attributes import SEAT, SEATS

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

REPLACED = "retry_history"
"""System attribute by which Optuna's own retry names the trials that it begins again, all of them."""


class StudyQueue:
    """A study whose workers have seats: a trial whose worker is gone is known at once, and given back.

    Args:
        storage: where the study is.
        name: the study's name; it is made where there is none.
        sampler: who proposes.
        pruner: who ends a trial early.
        objectives: how many numbers a trial's value has; all are made small.
        trials: trials in all, however often the work was interrupted; None is no limit.

    Raises:
        LenetError: the database does not answer.
    """

    def __init__(
        self,
        storage: StudyStorage,
        name: str,
        sampler: BaseSampler,
        pruner: BasePruner | None = None,
        objectives: int = 1,
        trials: int | None = None,
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.storage = storage
        self.name = name
        self._limit = trials
        with storage_errors(storage.url), storage.lock(name, WATCH):
            self.study: Study = optuna.create_study(
                storage=storage.database,
                study_name=name,
                directions=["minimize"] * objectives,
                sampler=sampler,
                pruner=pruner or optuna.pruners.NopPruner(),
                load_if_exists=True,
            )

    def trials(self) -> Sequence[FrozenTrial]:
        """Return the trials asked for as they are now: the first ones, where a larger budget was asked for before.

        Those that missed their heartbeats and were begun again as others are left out.
        """
        trials = self.study.get_trials(deepcopy=False)
        replaced = {number for trial in trials for number in trial.system_attrs.get(REPLACED, ())}
        return [trial for trial in trials if trial.number not in replaced][: self._limit]

    def frozen(self, trials: Sequence[FrozenTrial]) -> Study:
        """Return a study in memory that stays as `trials()` gave it, numbers included; others may go on with ours."""
        import optuna

        read = {trial.number: trial for trial in trials}
        every = self.study.get_trials(deepcopy=False)[: max(read, default=-1) + 1]
        frozen = optuna.create_study(study_name=self.name, directions=self.study.directions)
        frozen.add_trials(read.get(trial.number, trial) for trial in every)
        return frozen

    def counts(self, trials: Sequence[FrozenTrial] | None = None) -> Counts:
        """Count trials; default: all that are asked for, as they are now."""
        return count(self.trials() if trials is None else trials)

    def register_worker(self, until: ExitStack) -> int:
        """Return a worker's number, never given before, that shows until the stack is closed that the worker lives."""
        with storage_errors(self.storage.url), self.storage.lock(self.name, WATCH):
            seat = int(self.study.user_attrs.get(SEATS, 0)) + 1
            self.study.set_user_attr(SEATS, seat)
            if not self.storage.try_lock(self.name, _seat(seat), until):
                raise AssertionError(f"seat {seat} is taken")
        return seat

    def recover(self) -> int:
        """Give back the trials whose worker is gone, so that another goes on with them; return how many."""
        with storage_errors(self.storage.url), self.storage.lock(self.name, WATCH):
            return self._recover()

    def claim(self, seat: int) -> Trial | None:
        """Take the next trial: one that was left behind, or a new one while the budget lasts; None where there is none.

        What is proposed depends on all trials so far, and the budget on their number: one process at a time.
        """
        with storage_errors(self.storage.url), self.storage.lock(self.name, WATCH):
            self._recover()
            counts = self.counts()
            if counts.waiting == 0 and not self._has_budget(counts):
                return None
            with _without_experimental_warnings():
                trial = self.study.ask()
            trial.set_user_attr(SEAT, seat)
            self.storage.database.record_heartbeat(trial._trial_id)
            return trial

    def is_over(self) -> bool:
        """Say whether nothing is left to do, for anyone."""
        counts = self.counts()
        return not counts.waiting and not counts.running and not self._has_budget(counts)

    def requeue(self, trial: Trial) -> None:
        """Leave a trial, with its values and its epochs so far, to whoever comes next."""
        self._leave(trial._trial_id)

    def _leave(self, number: int) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            # Optuna pops waiting trials first; one that has its values already keeps them, and its number.
            self.storage.database.set_trial_state_values(number, state=TrialState.WAITING)
        except UpdateFinishedTrialError:  # it has ended meanwhile
            return False
        return True

    def tell(self, trial: Trial, values: list[float] | None, state: str) -> None:
        """Write down how a trial ended.

        Args:
            trial: the trial.
            values: one an objective, of a trial that is COMPLETE.
            state: Optuna's name of it: COMPLETE, PRUNED or FAIL.
        """
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            self.study.tell(trial, values, state=TrialState[state])
        except (UpdateFinishedTrialError, ValueError):
            if not self.study.get_trials(deepcopy=False)[trial.number].state.is_finished():
                raise  # otherwise this machine slept past its heartbeats, and another has told

    def _has_budget(self, counts: Counts) -> bool:
        return self._limit is None or counts.taken < self._limit

    def _recover(self) -> int:
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        recovered = 0
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            seat = trial.user_attrs.get(SEAT)
            # Taking a trial and writing down whose it is are one step under the lock: without a seat it is nobody's.
            if seat is None or not self.storage.is_locked(self.name, _seat(seat)):
                recovered += self._leave(trial._trial_id)
        with _without_experimental_warnings():
            fail_stale_trials(self.study)  # of a machine that hangs: its locks are held, its heart does not beat
        return recovered


def _seat(number: int) -> str:
    return f"seat-{number}"


@contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
