from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from lenet.search.samplers import Sampler, named_sampler
from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy

Ask = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]


def test_workers_propose_different_trials(ask: Ask, open_study: Open) -> None:
    question = ask("search.trials=20")
    values = []
    with ExitStack() as stack:
        for worker in range(1, 7):
            shared = open_study(question, worker)
            trial = shared.claim(shared.register_worker(stack))
            assert trial is not None
            values.append(question.space.suggest(trial)["optimizer.learning_rate"])
    assert len(set(values)) == 6


def proposed(name: Sampler, seed: int, worker: int) -> list[float]:
    """The first values that a sampler proposes."""
    import optuna

    sampler = named_sampler(name, 3, seed, worker)  # first: it tells optuna to be quiet
    study = optuna.create_study(sampler=sampler)
    return [study.ask().suggest_float("rate", 0.0, 1.0) for _ in range(3)]


@pytest.mark.parametrize("name", ["tpe", "gp", "random", "qmc", "cmaes"])
def test_proposals_are_a_function_of_the_studys_seed_and_the_worker(name: Sampler) -> None:
    first = proposed(name, 1, 1)
    assert proposed(name, 1, 1) == first
    assert not set(proposed(name, 2, 1)) & set(first)
    if name == "qmc":  # one sequence for all workers, whose place is kept in the study
        assert proposed(name, 1, 2) == first
    else:
        assert not set(proposed(name, 1, 2)) & set(first)
