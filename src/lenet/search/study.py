"""A study that many processes work at: who takes which trial, and when the budget is spent."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lenet.search.pruners import build_pruner
from lenet.search.question import Question
from lenet.search.samplers import build_sampler
from lenet.search.storage import (
    HEARTBEAT_SECONDS,
    HOST,
    WATCH,
    StudyStorage,
    failures,
    is_storage_error,
    storage_errors,
)

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SEAT = "lenet.seat"
SEATS = "lenet.seats"
SESSION = "lenet.session."
FINGERPRINT = "lenet.fingerprint"
OUTCOME = "lenet.outcome"
FAULTS = "lenet.faults"
"""Keys of what we write beside Optuna's own: user attributes of trials and of the study."""

MOST_FAULTS = 3
"""Errors that may end the work at a trial before it fails: what ends every worker that takes it is the trial's own."""

REPLACED = "retry_history"
"""System attribute by which Optuna's own retry names the trials that it begins again, all of them."""

SECONDS_A_MINUTE = 60.0


@dataclass(frozen=True)
class Counts:
    """How many trials are in which state; `failed` are trainings that ended without a number."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return self.complete + self.pruned + self.failed

    @property
    def taken(self) -> int:
        """Trials that have ended or will."""
        return self.done + self.running + self.waiting


class SeatedStudy:
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

    def frozen(self) -> Study:
        """Return the study up to the last of `trials()`, in memory, each with its number: others may go on with it."""
        import optuna

        end = max((trial.number for trial in self.trials()), default=-1) + 1
        frozen = optuna.create_study(study_name=self.name, directions=self.study.directions)
        frozen.add_trials(self.study.get_trials(deepcopy=False)[:end])
        return frozen

    def counts(self, trials: Sequence[FrozenTrial] | None = None) -> Counts:
        """Count trials; default: all, as they are now."""
        from optuna.trial import TrialState

        states = [trial.state for trial in (self.trials() if trials is None else trials)]
        return Counts(
            complete=states.count(TrialState.COMPLETE),
            pruned=states.count(TrialState.PRUNED),
            failed=states.count(TrialState.FAIL),
            running=states.count(TrialState.RUNNING),
            waiting=states.count(TrialState.WAITING),
        )

    def take_seat(self, until: ExitStack) -> int:
        """Return a worker's number, never given before, that shows until the stack is closed that the worker lives."""
        with storage_errors(self.storage.url), self.storage.lock(self.name, WATCH):
            seat = int(self.study.user_attrs.get(SEATS, 0)) + 1
            self.study.set_user_attr(SEATS, seat)
            if not self.storage.try_lock(self.name, _seat(seat), until):
                raise AssertionError(f"seat {seat} is taken")
        return seat

    @contextmanager
    def lead(self, is_joining: bool) -> Iterator[bool]:
        """Within the block this process leads the search, unless another does."""
        with ExitStack() as stack:
            yield False if is_joining else self.storage.try_lock(self.name, HOST, stack)

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

    def give_back(self, trial: Trial) -> None:
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

    def give_up(self, trial: Trial, error: Exception) -> None:
        """Give back a trial at which an error ended the work; with the last of `MOST_FAULTS` it fails instead."""
        number = trial._trial_id
        attributes = self.storage.database.get_trial(number).user_attrs
        faults = int(attributes.get(FAULTS, 0)) + 1
        self.storage.database.set_trial_user_attr(number, FAULTS, faults)
        if faults < MOST_FAULTS:
            self.give_back(trial)
            return
        why = " ".join(str(error).split()) or type(error).__name__
        outcome = {"answer": f"given up after {faults} errors, the last: {why}", "ended": round(time.time(), 3)}
        self.storage.database.set_trial_user_attr(number, OUTCOME, outcome)
        self.tell(trial, None, "FAIL")

    @contextmanager
    def at_work(self, trial: Trial) -> Iterator[None]:
        """Show within the block, from a thread, that the trial is worked at; a block that fails gives it back.

        A signal gives it back as often as it comes, errors up to `MOST_FAULTS` times.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT_SECONDS):
                with suppress(*failures()):  # the database is away: the work itself finds out, and says so
                    self.storage.database.record_heartbeat(trial._trial_id)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        except UpdateFinishedTrialError:  # another has it: there is nothing to give back
            raise
        except Exception as error:
            if is_storage_error(error):  # no fault of the trial's; if it cannot be given back, its heartbeats end
                with suppress(*failures()):
                    self.give_back(trial)
            else:
                self.give_up(trial, error)
            raise
        except BaseException:  # a signal
            self.give_back(trial)
            raise
        finally:
            over.set()
            thread.join()

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


class SharedStudy(SeatedStudy):
    """A search's study, as one process sees it.

    Args:
        question: the search.
        storage: where the study is.
        name: the study's name.
        worker: the number that the process proposes with; None only looks.

    Raises:
        LenetError: the database does not answer.
    """

    def __init__(self, question: Question, storage: StudyStorage, name: str, worker: int | None = None) -> None:
        self.question = question
        search = question.search
        sampler, pruner = build_sampler(search, worker or 0), build_pruner(search)
        super().__init__(storage, name, sampler, pruner, len(search.objectives), search.trials)

    def spent_seconds(self) -> float:
        """Return how long the search was at work, over all sessions; hours in which several overlapped count once."""
        spans = sorted(span for key, span in self.study.user_attrs.items() if key.startswith(SESSION))
        spent, end = 0.0, float("-inf")
        for began, last in spans:
            spent += max(0.0, last - max(began, end))
            end = max(end, last)
        return spent

    def mark_time(self, session: str, began: float) -> None:
        """Note that a session, whose name no other has, has worked from `began` until now."""
        self.study.set_user_attr(f"{SESSION}{session}", [began, time.time()])

    def _has_budget(self, counts: Counts) -> bool:
        minutes = self.question.search.minutes
        return super()._has_budget(counts) and (minutes is None or self.spent_seconds() < minutes * SECONDS_A_MINUTE)


def _seat(number: int) -> str:
    return f"seat-{number}"


@contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
