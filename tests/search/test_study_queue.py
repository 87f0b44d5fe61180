from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from optuna.trial import TrialState

from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy
from lenet.search.trial_attributes import SEAT

Ask = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]


def test_a_trial_whose_worker_is_gone_goes_to_the_next_with_its_number_and_values(ask: Ask, open_study: Open) -> None:
    question = ask("search.trials=1")
    dying = open_study(question, worker=1)
    with ExitStack() as life:
        trial = dying.claim(dying.register_worker(life))
        assert trial is not None
        values = question.space.suggest(trial)
        trial.report(5.0, 1)
        heir = open_study(question, worker=2)
        with ExitStack() as other:
            seat = heir.register_worker(other)
            assert heir.claim(seat) is None  # its worker lives
            life.close()
            again = heir.claim(seat)
            assert again is not None
            assert again.number == trial.number
            assert question.space.suggest(again) == values
            assert again.user_attrs[SEAT] == seat
            heir.study.tell(again, 1.0)
        assert len(heir.study.trials) == 1
        assert heir.study.trials[0].intermediate_values == {1: 5.0}


def test_a_trial_that_nobody_had_signed_for_is_given_back(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask(), worker=1)
    shared.study.ask()  # killed before it could sign
    assert shared.recover() == 1
    assert (shared.counts().waiting, shared.counts().running) == (1, 0)


def test_seats_are_never_given_twice_and_show_who_lives(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask())
    with ExitStack() as stack:
        assert [shared.register_worker(stack) for _ in range(3)] == [1, 2, 3]
        assert shared.storage.is_locked(shared.name, "seat-2")
    assert not shared.storage.is_locked(shared.name, "seat-2")
    with ExitStack() as stack:
        assert shared.register_worker(stack) == 4


def test_a_trial_that_lapsed_twice_is_hidden_twice(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask(), worker=1)
    begin_again = shared.storage.database.get_heartbeat_stale_trial_callback()
    assert begin_again is not None
    for number in range(2):
        shared.study.ask()
        shared.study.tell(number, state=TrialState.FAIL)
        begin_again(shared.study, shared.study.trials[number])
    assert [trial.number for trial in shared.trials()] == [2]
