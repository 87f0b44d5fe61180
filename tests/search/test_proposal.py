"""A search is a function: of its settings, not of its workers nor of the order in which trials end."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from optuna import Trial
from optuna.trial import FrozenTrial

from lenet.search.search_space import Assignment
from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy

ReadTiny = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]
EPOCHS, TRIALS, PARALLEL = 4, 14, 4
SPACE = {
    "optimizer": {
        "learning_rate": {"low": 0.001, "high": 0.02, "log": True},
        "label_smoothing": {"low": 0.0, "high": 0.1},
    },
    "model": {"activation": {"choices": ["tanh", "relu"]}},
}


def error(values: Assignment, epoch: int) -> float:
    rate, smoothing, is_tanh = (
        values["optimizer.learning_rate"],
        values["optimizer.label_smoothing"],
        values["model.activation"] == "tanh",
    )
    return 1 / epoch + abs(float(rate) - 0.004) * 300 + float(smoothing) + is_tanh


class Worker:
    """Runs trials an epoch at a time."""

    def __init__(self, study: SearchStudy, stack: ExitStack) -> None:
        self.study = study
        self.number = study.register_worker(stack)
        self.trial: Trial | None = None
        self.viewed: Trial | None = None
        self.epoch = 0

    def step(self) -> None:
        if self.trial is None:
            self.trial, self.epoch = self.study.claim(self.number), 0
            if self.trial is not None:
                self.viewed = self.study.in_view(self.trial)
            return
        assert self.viewed is not None
        self.epoch += 1
        value = error(self.study.spec.space.suggest(self.trial), self.epoch)
        for one in (self.trial, self.viewed):
            one.report(value, self.epoch)
        is_pruned = self.epoch < EPOCHS and self.viewed.should_prune()
        if is_pruned or self.epoch == EPOCHS:
            self.study.keep_attributes(self.trial, self.viewed)
            self.study.finish(self.trial, None if is_pruned else [value], "PRUNED" if is_pruned else "COMPLETE")
            self.trial = None


def ran(study: SearchStudy, workers: int, order: int) -> list[tuple[Any, ...]]:
    """The trials after workers took turns in some order."""
    draw = random.Random(order)
    with ExitStack() as stack:
        team = [Worker(study, stack) for _ in range(workers)]
        while not study.is_over():
            draw.choice(team).step()
    return [shown(one) for one in study.trials()]


def shown(one: FrozenTrial) -> tuple[Any, ...]:
    return one.number, one.params, one.state.name, one.intermediate_values


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [("tpe", "asha"), ("tpe", "hyperband"), ("gp", "median"), ("cmaes", "none"), ("qmc", "asha"), ("random", "none")],
)
def test_trials_are_the_same_for_any_number_of_workers_and_any_order(
    read_tiny: ReadTiny, open_study: Open, sampler: str, pruner: str
) -> None:
    knobs = {"sampler": sampler, "pruner": pruner, "space": SPACE, "startup_trials": 4, "parallel_trials": PARALLEL}

    def trials(workers: int, order: int) -> list[tuple[Any, ...]]:
        name = f"search.name=w{workers}o{order}"  # a study of its own; its name is no part of a proposal
        return ran(open_study(read_tiny(name, epochs=EPOCHS, trials=TRIALS, **knobs)), workers, order)

    alone = trials(1, 0)
    assert len(alone) == TRIALS
    assert len({str(params) for _, params, _, _ in alone}) >= TRIALS - 1  # two may lie in the same corner
    if pruner == "asha":
        assert {"PRUNED", "COMPLETE"} == {state for _, _, state, _ in alone}
    if pruner != "hyperband":
        assert trials(2, 1) == trials(9, 2) == alone


def test_a_proposal_waits_for_the_trials_that_it_depends_on_and_no_others(
    read_tiny: ReadTiny, open_study: Open
) -> None:
    study = open_study(read_tiny(space=SPACE, trials=9, parallel_trials=3))
    with ExitStack() as stack:
        worker = study.register_worker(stack)
        first, second, third = (study.claim(worker) for _ in range(3))
        assert None not in (first, second, third)
        assert study.claim(worker) is None
        assert second is not None
        study.finish(second, [1.0], "COMPLETE")
        assert study.claim(worker) is None  # the first one runs
        assert first is not None
        study.finish(first, [2.0], "COMPLETE")
        assert [study.claim(worker) is not None for _ in range(3)] == [True, True, False]


def test_numbers_have_four_digits_and_stay_within_their_range(read_tiny: ReadTiny, open_study: Open) -> None:
    study = open_study(read_tiny(space=SPACE, trials=6, parallel_trials=6))
    with ExitStack() as stack:
        worker = study.register_worker(stack)
        for _ in range(6):
            trial = study.claim(worker)
            assert trial is not None
            values = study.spec.space.suggest(trial)
            for name in ("optimizer.learning_rate", "optimizer.label_smoothing"):
                assert float(f"{values[name]:.4g}") == values[name]
            assert 0.001 <= float(values["optimizer.learning_rate"]) <= 0.02
