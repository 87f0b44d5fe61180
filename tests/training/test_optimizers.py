from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lenet.config.schema import Config, ConstantConfig, CosineConfig, LeCun1998Config, OneCycleConfig, StepConfig
from lenet.training.optimizers import build_optimizer, learning_rate_factor

MakeConfig = Callable[..., Config]


def factors(schedule: Any, steps: int, steps_an_epoch: int = 10) -> list[float]:
    return [learning_rate_factor(schedule, step, steps, steps_an_epoch) for step in range(steps)]


def test_constant() -> None:
    assert factors(ConstantConfig("constant"), 7) == [1.0] * 7


def test_the_schedule_of_1998() -> None:
    rates = [0.0005 * one for one in factors(LeCun1998Config("lecun1998"), 20, steps_an_epoch=1)]
    assert rates == pytest.approx([0.0005] * 2 + [0.0002] * 3 + [0.0001] * 3 + [0.00005] * 4 + [0.00001] * 8)


def test_cosine_begins_at_one_is_half_way_in_the_middle_and_ends_at_its_fraction() -> None:
    found = factors(CosineConfig("cosine", 0.1), 101)
    assert found[0] == 1.0
    assert found[50] == pytest.approx(0.55)
    assert found[-1] == pytest.approx(0.1)
    assert found[25] == pytest.approx(0.1 + 0.9 * (1 + 0.5**0.5) / 2)
    assert found == sorted(found, reverse=True)


def test_one_cycle_warms_up_in_a_line_and_decays_in_a_line() -> None:
    found = factors(OneCycleConfig("one_cycle", 0.2, 0.01), 101)
    assert found[0] == pytest.approx(1 / 20)
    assert found[9] == pytest.approx(0.5)
    assert found[19] == pytest.approx(1.0)  # last step of the warm-up
    assert found[20] == 1.0  # first of the decay
    assert found[60] == pytest.approx(1 - 0.99 * 0.5)
    assert found[-1] == pytest.approx(0.01)
    assert found[:20] == sorted(found[:20])
    assert found[20:] == sorted(found[20:], reverse=True)
    assert min(found) > 0


@pytest.mark.parametrize(("warmup", "first", "last"), [(0.0, 1.0, 0.0), (1.0, 0.1, 1.0)])
def test_one_cycle_without_a_warm_up_and_with_nothing_else(warmup: float, first: float, last: float) -> None:
    found = factors(OneCycleConfig("one_cycle", warmup, 0.0), 10)
    assert (found[0], found[-1]) == (pytest.approx(first), pytest.approx(last))


def test_step_is_cut_after_every_few_epochs() -> None:
    found = factors(StepConfig("step", 2, 0.5), 60, steps_an_epoch=10)
    assert found[0] == found[19] == 1.0
    assert found[20] == found[39] == 0.5
    assert found[40] == found[59] == 0.25


@pytest.mark.parametrize(
    "schedule",
    [
        ConstantConfig("constant"),
        CosineConfig("cosine", 0.0),
        OneCycleConfig("one_cycle", 0.2, 0.0),
        OneCycleConfig("one_cycle", 1.0, 0.0),
        StepConfig("step", 1, 0.5),
    ],
)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_have_factors_from_zero_to_one(schedule: Any, steps: int) -> None:
    found = factors(schedule, steps, steps_an_epoch=1)
    assert found[0] > 0
    assert all(0 <= factor <= 1 for factor in found)


SHARED = {"learning_rate": 0.1, "weight_decay": 0.2, "label_smoothing": 0.0, "schedule": {"name": "constant"}}
SGD = {"name": "sgd", "momentum": 0.9, "nesterov": True} | SHARED
ADAM = {"name": "adam", "beta1": 0.8, "beta2": 0.95} | SHARED


@pytest.mark.parametrize(
    ("body", "kind", "knobs"),
    [
        (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2}),
        (ADAM, torch.optim.Adam, {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.2}),
        (ADAM | {"name": "adamw"}, torch.optim.AdamW, {"lr": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.2}),
    ],
)
def test_every_knob_arrives(make_config: MakeConfig, body: dict[str, Any], kind: type, knobs: dict[str, Any]) -> None:
    optimizer = build_optimizer(make_config(optimizer=body).optimizer, [nn.Parameter(torch.ones(2))])
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert {name: group[name] for name in knobs} == knobs


def step_from(config: Config, weight: float, gradient: float) -> float:
    parameter = nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    optimizer = build_optimizer(config.optimizer, [parameter])
    parameter.grad = torch.tensor([gradient], dtype=torch.float64)
    optimizer.step()
    return float(parameter)


def test_weight_decay_is_in_the_gradient_of_sgd_and_adam_and_beside_that_of_adamw(make_config: MakeConfig) -> None:
    # SGD with Nesterov's momentum: weight − rate·(1 + momentum)·(gradient + decay·weight)
    assert step_from(make_config(optimizer=SGD), 1.0, 0.5) == pytest.approx(1 - 0.1 * 1.9 * 0.7)
    # Adam's first step is rate·sign; with decay in the gradient a gradient of nought moves too
    assert step_from(make_config(optimizer=ADAM), 1.0, 0.0) == pytest.approx(1 - 0.1, abs=1e-6)
    # AdamW: weight·(1 − rate·decay), nothing else where the gradient is nought
    assert step_from(make_config(optimizer=ADAM | {"name": "adamw"}), 1.0, 0.0) == pytest.approx(1 - 0.1 * 0.2)
