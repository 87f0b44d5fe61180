from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from lenet.search.samplers import build_sampler
from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy
from lenet.search.trial_records import count

ReadTiny = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]
SAMPLERS = ["tpe", "gp", "random", "qmc", "cmaes"]
SPACE = {
    "optimizer": {
        "learning_rate": {"low": 0.001, "high": 0.02, "log": True},
        "label_smoothing": {"low": 0.0, "high": 0.1},
    },
    "model": {"activation": {"choices": ["tanh", "relu"]}},
}


def proposed(spec: SearchSpec, worker: int) -> list[float]:
    """The first values that a worker's sampler proposes."""
    import optuna

    study = optuna.create_study(sampler=build_sampler(spec.search, worker))
    return [study.ask().suggest_float("rate", 0.0, 1.0) for _ in range(3)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_a_function_of_seed_and_worker(read_tiny: ReadTiny, sampler: str) -> None:
    spec = read_tiny(sampler=sampler)
    first = proposed(spec, 1)
    assert proposed(spec, 1) == first
    assert not set(proposed(read_tiny("search.seed=2", sampler=sampler), 1)) & set(first)
    own = replace(spec, search=replace(spec.search, sampler_seed=2))
    assert proposed(own, 1) == proposed(read_tiny("search.seed=2", sampler=sampler), 1)
    if sampler == "qmc":  # one sequence for all workers; the study holds the position in it
        assert proposed(spec, 2) == first
    else:
        assert not set(proposed(spec, 2)) & set(first)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median", "none"])
def test_every_sampler_works_with_every_pruner(
    read_tiny: ReadTiny, open_study: Open, sampler: str, pruner: str
) -> None:
    spec = read_tiny(sampler=sampler, pruner=pruner, trials=8, space=SPACE)
    study = open_study(spec, worker=1)
    with ExitStack() as stack:
        worker = study.register_worker(stack)
        for number in range(8):
            trial = study.claim(worker)
            assert trial is not None
            spec.space.suggest(trial)
            trial.report(float(number), 1)
            trial.should_prune()
            study.finish(trial, [float(number)], "COMPLETE")
    assert count(study.trials()).complete == 8


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
@pytest.mark.parametrize("first_epoch", [1, 3])
def test_no_pruner_ends_a_trial_before_its_first_epoch(
    read_tiny: ReadTiny, open_study: Open, pruner: str, first_epoch: int
) -> None:
    spec = read_tiny(pruner=pruner, first_epoch=first_epoch, epochs=9, trials=9, startup_trials=1)
    study = open_study(spec, worker=1)
    pruned: set[int] = set()
    with ExitStack() as stack:
        worker = study.register_worker(stack)
        for number in range(8):  # each is worse than all before it
            trial = study.claim(worker)
            assert trial is not None
            spec.space.suggest(trial)
            for epoch in range(1, 10):
                trial.report(1.0 + number, epoch)
                if trial.should_prune():
                    pruned.add(epoch)
            study.finish(trial, [1.0 + number], "COMPLETE")
    assert min(pruned) >= first_epoch
    assert pruner == "hyperband" or min(pruned) == first_epoch  # its ladders begin at different epochs
