from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from lenet.search.samplers import build_sampler
from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy

ReadTiny = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]
SAMPLERS = ["tpe", "gp", "random", "qmc", "cmaes"]


def proposed(spec: SearchSpec, number: int) -> list[float]:
    """The first values that a trial's sampler proposes."""
    import optuna

    study = optuna.create_study(sampler=build_sampler(spec.search, number))
    return [study.ask().suggest_float("rate", 0.0, 1.0) for _ in range(3)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_proposals_are_a_function_of_the_seed_and_the_trials_number(read_tiny: ReadTiny, sampler: str) -> None:
    spec = read_tiny(sampler=sampler)
    first = proposed(spec, 1)
    assert proposed(spec, 1) == first
    assert proposed(read_tiny("search.seed=2", sampler=sampler), 1)[0] != first[0]
    own = replace(spec, search=replace(spec.search, sampler_seed=2))
    assert proposed(own, 1) == proposed(read_tiny("search.seed=2", sampler=sampler), 1)
    assert proposed(spec, 2)[0] != first[0]


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
@pytest.mark.parametrize("first_epoch", [1, 3])
def test_no_pruner_ends_a_trial_before_its_first_epoch(
    read_tiny: ReadTiny, open_study: Open, pruner: str, first_epoch: int
) -> None:
    spec = read_tiny(pruner=pruner, first_epoch=first_epoch, epochs=9, trials=9, startup_trials=1, parallel_trials=1)
    study = open_study(spec)
    pruned: set[int] = set()
    with ExitStack() as stack:
        worker = study.register_worker(stack)
        for number in range(8):  # each is worse than all before it
            trial = study.claim(worker)
            assert trial is not None
            spec.space.suggest(trial)
            viewed = study.in_view(trial)
            for epoch in range(1, 10):
                for one in (trial, viewed):
                    one.report(1.0 + number, epoch)
                if viewed.should_prune():
                    pruned.add(epoch)
            study.keep_attributes(trial, viewed)
            study.finish(trial, [1.0 + number], "COMPLETE")
    assert min(pruned) >= first_epoch
    assert pruner == "hyperband" or min(pruned) == first_epoch  # its ladders begin at different epochs
