from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from optuna.trial import TrialState

from lenet.search.spec import SearchSpec
from lenet.search.study import WORKER, SearchStudy, worker_lock
from lenet.search.trial_records import count

ReadTiny = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]


def test_claims_end_with_the_budget(read_tiny: ReadTiny, open_study: Open) -> None:
    study = open_study(read_tiny("search.trials=2"))
    with ExitStack() as stack:
        worker = study.register_worker(stack)
        trials = [study.claim(worker) for _ in range(4)]
        assert [trial is not None for trial in trials] == [True, True, False, False]
        assert not study.is_over()
        for trial in trials[:2]:
            assert trial is not None
            study.finish(trial, [1.0], "COMPLETE")
        assert study.is_over()
        counts = count(study.trials())
        assert (counts.complete, counts.ended, counts.all) == (2, 2, 2)


def test_a_larger_budget_continues_the_same_study(read_tiny: ReadTiny, open_study: Open) -> None:
    first = open_study(read_tiny("search.trials=1"))
    with ExitStack() as stack:
        trial = first.claim(first.register_worker(stack))
        assert trial is not None
        first.finish(trial, [1.0], "COMPLETE")
        second = open_study(read_tiny("search.trials=2"))
        assert second.name == first.name
        found = second.claim(second.register_worker(stack))
        assert found is not None
        assert found.number == 1


def test_a_smaller_budget_has_the_first_trials(read_tiny: ReadTiny, open_study: Open) -> None:
    larger = open_study(read_tiny("search.trials=3"))
    with ExitStack() as stack:
        worker = larger.register_worker(stack)
        for value in range(3):
            trial = larger.claim(worker)
            assert trial is not None
            if value < 2:
                larger.finish(trial, [float(value)], "COMPLETE")
        smaller = open_study(read_tiny("search.trials=2"))
        assert smaller.name == larger.name
        assert smaller.is_over()  # though the third of the larger one runs
        assert not larger.is_over()
        assert [trial.number for trial in smaller.trials()] == [0, 1]
        assert [trial.value for trial in smaller.snapshot(smaller.trials()).trials] == [0.0, 1.0]


def test_a_dead_workers_trial_goes_to_the_next_with_its_number_and_values(
    read_tiny: ReadTiny, open_study: Open
) -> None:
    spec = read_tiny("search.trials=1")
    dying, heir = open_study(spec), open_study(spec)
    with ExitStack() as life, ExitStack() as other:
        trial = dying.claim(dying.register_worker(life))
        assert trial is not None
        values = spec.space.suggest(trial)
        trial.report(5.0, 1)
        worker = heir.register_worker(other)
        assert heir.claim(worker) is None  # the first worker lives
        life.close()
        again = heir.claim(worker)
        assert again is not None
        assert again.number == trial.number
        assert spec.space.suggest(again) == values
        assert again.user_attrs[WORKER] == worker
        heir.finish(again, [1.0], "COMPLETE")
    (found,) = heir.study.trials
    assert found.intermediate_values == {1: 5.0}


def test_a_trial_without_a_worker_is_requeued(read_tiny: ReadTiny, open_study: Open) -> None:
    study = open_study(read_tiny())
    study.study.ask()  # killed before it was signed
    assert study.requeue_lost() == 1
    assert (count(study.trials()).waiting, count(study.trials()).running) == (1, 0)


def test_worker_numbers_are_never_given_twice_and_their_locks_show_who_lives(
    read_tiny: ReadTiny, open_study: Open
) -> None:
    study = open_study(read_tiny())
    with ExitStack() as stack:
        assert [study.register_worker(stack) for _ in range(3)] == [1, 2, 3]
        assert study.storage.is_locked(study.name, worker_lock(2))
    assert not study.storage.is_locked(study.name, worker_lock(2))
    with ExitStack() as stack:
        assert study.register_worker(stack) == 4


def test_trials_that_were_retried_are_left_out(read_tiny: ReadTiny, open_study: Open) -> None:
    study = open_study(read_tiny())
    retry = study.storage.database.get_heartbeat_stale_trial_callback()
    assert retry is not None
    for number in range(2):
        study.study.ask()
        study.study.tell(number, state=TrialState.FAIL)
        retry(study.study, study.study.trials[number])
    assert [trial.number for trial in study.trials()] == [2]


def test_time_of_overlapping_sessions_counts_once(read_tiny: ReadTiny, open_study: Open) -> None:
    study = open_study(read_tiny("search.trials=null", "search.minutes=1"))
    now = time.time()
    for name, span in {"1": (-50, -20), "2": (-40, -10), "3": (-5, 0)}.items():
        study.study.set_user_attr(f"lenet.session.{name}", [now + moment for moment in span])
    assert study.spent_seconds() == pytest.approx(45)
    with ExitStack() as stack:
        worker = study.register_worker(stack)
        assert study.claim(worker) is not None
        study.study.set_user_attr("lenet.session.4", [now, now + 20])
        assert study.claim(worker) is None


def test_a_session_records_its_time(read_tiny: ReadTiny, open_study: Open) -> None:
    study = open_study(read_tiny())
    study.record_time("one", time.time() - 30)
    assert study.spent_seconds() == pytest.approx(30, abs=5)
