from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from lenet.search.question import Question
from lenet.search.study import SharedStudy

Ask = Callable[..., Question]
Open = Callable[..., SharedStudy]


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
