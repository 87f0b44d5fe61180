from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy

Ask = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]


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
        seat = shared.register_worker(stack)
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
        seat = shared.register_worker(stack)
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
