from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from optuna.trial import TrialState

from lenet.durable import write_text
from lenet.errors import ConfigError, LenetError
from lenet.project import Project
from lenet.search import storage as storage_module
from lenet.search.question import Question
from lenet.search.storage import HOST, open_storage, study_url
from lenet.search.study import SEAT, SharedStudy

Ask = Callable[..., Question]
Open = Callable[..., SharedStudy]


def test_claims_end_with_the_budget(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask("search.trials=2"), worker=1)
    with ExitStack() as stack:
        seat = shared.take_seat(stack)
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
        seat = first.take_seat(stack)
        trial = first.claim(seat)
        assert trial is not None
        first.study.tell(trial, 1.0)
        second = open_study(ask("search.trials=2"), worker=2)
        assert second.name == first.name
        found = second.claim(second.take_seat(stack))
        assert found is not None
        assert found.number == 1


def test_a_smaller_budget_is_answered_by_the_first_trials(ask: Ask, open_study: Open) -> None:
    larger = open_study(ask("search.trials=3"), worker=1)
    with ExitStack() as stack:
        seat = larger.take_seat(stack)
        trials = [larger.claim(seat) for _ in range(3)]
        for value, trial in enumerate(trials[:2]):
            assert trial is not None
            larger.study.tell(trial, float(value))
        smaller = open_study(ask("search.trials=2"))
        assert smaller.name == larger.name
        assert smaller.is_over()  # though the third of the larger one is at work
        assert not larger.is_over()
        assert [trial.number for trial in smaller.trials()] == [0, 1]
        assert [trial.value for trial in smaller.frozen().trials] == [0.0, 1.0]


def test_a_trial_whose_worker_is_gone_goes_to_the_next_with_its_number_and_values(ask: Ask, open_study: Open) -> None:
    question = ask("search.trials=1")
    dying = open_study(question, worker=1)
    with ExitStack() as life:
        trial = dying.claim(dying.take_seat(life))
        assert trial is not None
        values = question.space.suggest(trial)
        trial.report(5.0, 1)
        heir = open_study(question, worker=2)
        with ExitStack() as other:
            seat = heir.take_seat(other)
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
        assert [shared.take_seat(stack) for _ in range(3)] == [1, 2, 3]
        assert shared.storage.is_locked(shared.name, "seat-2")
    assert not shared.storage.is_locked(shared.name, "seat-2")
    with ExitStack() as stack:
        assert shared.take_seat(stack) == 4


def test_workers_propose_different_trials(ask: Ask, open_study: Open) -> None:
    question = ask("search.trials=20")
    values = []
    with ExitStack() as stack:
        for worker in range(1, 7):
            shared = open_study(question, worker)
            trial = shared.claim(shared.take_seat(stack))
            assert trial is not None
            values.append(question.space.suggest(trial)["optimizer.learning_rate"])
    assert len(set(values)) == 6


def test_only_one_leads(ask: Ask, open_study: Open) -> None:
    one, other = open_study(ask()), open_study(ask())
    with ExitStack() as stack, ExitStack() as second:
        assert one.storage.try_lock(one.name, HOST, stack)
        assert not other.storage.try_lock(other.name, HOST, second)
        stack.close()
        assert other.storage.try_lock(other.name, HOST, second)


def test_time_counts_once_where_sessions_overlap(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask("search.trials=null", "search.minutes=1"), worker=1)
    now = time.time()
    shared.study.set_user_attr("lenet.session.1", [now - 50, now - 20])
    shared.study.set_user_attr("lenet.session.2", [now - 40, now - 10])
    shared.study.set_user_attr("lenet.session.3", [now - 5, now])
    assert shared.spent_seconds() == pytest.approx(45)
    with ExitStack() as stack:
        assert shared.claim(shared.take_seat(stack)) is not None
        shared.study.set_user_attr("lenet.session.4", [now, now + 20])
        assert shared.claim(1) is None


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc", "cmaes"])
@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median", "none"])
def test_every_sampler_goes_with_every_pruner(ask: Ask, open_study: Open, sampler: str, pruner: str) -> None:
    space = {
        "optimizer": {
            "learning_rate": {"low": 0.001, "high": 0.02, "log": True},
            "label_smoothing": {"low": 0.0, "high": 0.1},
        },
        "model": {"activation": {"choices": ["tanh", "relu"]}},
    }
    question = ask(sampler=sampler, pruner=pruner, trials=8, space=space)
    shared = open_study(question, worker=1)
    with ExitStack() as stack:
        seat = shared.take_seat(stack)
        for number in range(8):
            trial = shared.claim(seat)
            assert trial is not None
            question.space.suggest(trial)
            trial.report(float(number), 1)
            trial.should_prune()
            shared.study.tell(trial, float(number))
    assert shared.counts().complete == 8


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
@pytest.mark.parametrize("first_epoch", [1, 2, 3])
def test_no_pruner_ends_a_trial_before_its_first_epoch_is_over(
    ask: Ask, open_study: Open, pruner: str, first_epoch: int
) -> None:
    question = ask(pruner=pruner, first_epoch=first_epoch, epochs=9, trials=9, startup_trials=1)
    shared = open_study(question, worker=1)
    ended: set[int] = set()
    with ExitStack() as stack:
        seat = shared.take_seat(stack)
        for number in range(8):  # each is worse than all before it
            trial = shared.claim(seat)
            assert trial is not None
            question.space.suggest(trial)
            for epoch in range(1, 10):
                trial.report(1.0 + number, epoch)
                if trial.should_prune():
                    ended.add(epoch)
            shared.tell(trial, [1.0 + number], "COMPLETE")
    assert min(ended) >= first_epoch
    assert pruner == "hyperband" or min(ended) == first_epoch  # its ladders begin at different epochs


def test_a_trial_that_lapsed_twice_is_hidden_twice(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask(), worker=1)
    begin_again = shared.storage.database.get_heartbeat_stale_trial_callback()
    assert begin_again is not None
    for number in range(2):
        shared.study.ask()
        shared.study.tell(number, state=TrialState.FAIL)
        begin_again(shared.study, shared.study.trials[number])
    assert [trial.number for trial in shared.trials()] == [2]


def test_the_time_of_two_sessions_adds_up(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask())
    now = time.time()
    shared.mark_time("one", now - 30)
    shared.study.set_user_attr("lenet.session.one", [now - 30, now - 20])  # it ended then
    shared.mark_time("two", now - 5)
    assert shared.spent_seconds() == pytest.approx(15, abs=1)


def test_a_database_that_is_locked_is_one_line(ask: Ask, open_study: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "BUSY_SECONDS", 0.2)
    shared = open_study(ask(), worker=1)
    path = Path(shared.storage.url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as other, ExitStack() as stack:
        other.execute("begin exclusive")
        with pytest.raises(LenetError, match=r"does not answer.*locked") as caught:
            shared.take_seat(stack)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_line(project: Project) -> None:
    path = project.home / "searches" / "optuna.db"
    write_text(path, "this is no database, however long it is" * 100)
    with pytest.raises(LenetError, match="is no SQLite database") as caught:
        open_storage(project, study_url(project, None))
    assert "\n" not in str(caught.value)


def test_a_server_that_is_gone_is_one_line(project: Project) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(LenetError, match="does not answer") as caught:
        open_storage(project, study_url(project, "postgresql://nobody:secret@127.0.0.1:1/none"))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_other_databases_are_refused(project: Project) -> None:
    with pytest.raises(ConfigError, match="must be sqlite:///… or postgresql"):
        study_url(project, "mysql://host/name")
    assert study_url(project, "sqlite:///other.db") == f"sqlite:///{project.home / 'other.db'}"
    assert study_url(project, "postgresql://host/name") == "postgresql+psycopg://host/name"
