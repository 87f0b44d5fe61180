from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy

Ask = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]


def test_claims_end_with_the_budget(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask("search.trials=2"), worker=1)
    with ExitStack() as stack:
        seat = shared.register_worker(stack)
        trials = [shared.claim(seat) for _ in range(4)]
        assert [trial is not None for trial in trials] == [True, True, False, False]
        assert not shared.is_over()
        for trial in trials[:2]:
            assert trial is not None
            shared.study.tell(trial, 1.0)
        assert shared.is_over()
        assert (shared.counts().complete, shared.counts().done, shared.counts().taken) == (2, 2, 2)


def test_a_larger_budget_goes_on_in_the_same_study(ask: Ask, open_study: Open) -> None:
    first = open_study(ask("search.trials=1"), worker=1)
    with ExitStack() as stack:
        seat = first.register_worker(stack)
        trial = first.claim(seat)
        assert trial is not None
        first.study.tell(trial, 1.0)
        second = open_study(ask("search.trials=2"), worker=2)
        assert second.name == first.name
        found = second.claim(second.register_worker(stack))
        assert found is not None
        assert found.number == 1


def test_a_smaller_budget_is_answered_by_the_first_trials(ask: Ask, open_study: Open) -> None:
    larger = open_study(ask("search.trials=3"), worker=1)
    with ExitStack() as stack:
        seat = larger.register_worker(stack)
        trials = [larger.claim(seat) for _ in range(3)]
        for value, trial in enumerate(trials[:2]):
            assert trial is not None
            larger.study.tell(trial, float(value))
        smaller = open_study(ask("search.trials=2"))
        assert smaller.name == larger.name
        assert smaller.is_over()  # though the third of the larger one is at work
        assert not larger.is_over()
        assert [trial.number for trial in smaller.trials()] == [0, 1]
        assert [trial.value for trial in smaller.frozen(smaller.trials()).trials] == [0.0, 1.0]


def test_time_counts_once_where_sessions_overlap(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask("search.trials=null", "search.minutes=1"), worker=1)
    now = time.time()
    shared.study.set_user_attr("lenet.session.1", [now - 50, now - 20])
    shared.study.set_user_attr("lenet.session.2", [now - 40, now - 10])
    shared.study.set_user_attr("lenet.session.3", [now - 5, now])
    assert shared.spent_seconds() == pytest.approx(45)
    with ExitStack() as stack:
        assert shared.claim(shared.register_worker(stack)) is not None
        shared.study.set_user_attr("lenet.session.4", [now, now + 20])
        assert shared.claim(1) is None


def test_the_time_of_two_sessions_adds_up(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask())
    now = time.time()
    shared.mark_time("one", now - 30)
    shared.study.set_user_attr("lenet.session.one", [now - 30, now - 20])  # it ended then
    shared.mark_time("two", now - 5)
    assert shared.spent_seconds() == pytest.approx(15, abs=1)
