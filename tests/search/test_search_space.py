from __future__ import annotations

from typing import Any

import optuna
import pytest

from lenet.core.errors import ConfigError
from lenet.search.search_space import Parameter, read_space
from lenet.search.searchable_fields import field_types

RATE = {"low": 1e-4, "high": 1e-1, "log": True}


def test_leaves_are_found_by_their_dotted_names() -> None:
    space = read_space(
        {
            "optimizer": {"learning_rate": RATE, "schedule": {"warmup_fraction": {"low": 0, "high": 1}}},
            "trainer": {"batch_size": {"low": 32, "high": 128, "step": 32}},
            "model": {"activation": {"choices": ["tanh", "relu"]}},
        }
    )
    found = {one.name: one for one in space.parameters}
    assert found["optimizer.learning_rate"] == Parameter("optimizer.learning_rate", low=1e-4, high=1e-1, log=True)
    assert found["optimizer.schedule.warmup_fraction"].ends == (0.0, 1.0)
    assert found["trainer.batch_size"].is_whole
    assert found["model.activation"].choices == ("tanh", "relu")


def test_values_have_their_fields_types() -> None:
    space = read_space(
        {
            "optimizer": {"learning_rate": RATE, "momentum": {"choices": [0, 0.9]}, "nesterov": {"choices": [True]}},
            "trainer": {"batch_size": {"low": 32, "high": 128}},
        }
    )
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    chosen = space.suggest(trial)
    assert {name: type(value) for name, value in chosen.items()} == {
        "optimizer.learning_rate": float,
        "optimizer.momentum": float,
        "optimizer.nesterov": bool,
        "trainer.batch_size": int,
    }


def test_a_condition_brings_a_field_in_for_some_choices_alone() -> None:
    space = read_space(
        {
            "optimizer": {
                "momentum": {"low": 0.5, "high": 0.99, "when": {"optimizer.name": "sgd"}},
                "name": {"choices": ["adam", "sgd"]},
            }
        }
    )
    assert [one.name for one in space.parameters] == ["optimizer.name", "optimizer.momentum"]  # parents first
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = [space.suggest(study.ask()) for _ in range(20)]
    assert {len(one) for one in seen} == {1, 2}
    assert all(("optimizer.momentum" in one) == (one["optimizer.name"] == "sgd") for one in seen)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({}, "search.space: is empty"),
        (None, "search.space=None: must be a group of keys"),
        ({"model": {}}, "search.space: is empty"),
        ({"model": {"activatoin": {"choices": ["relu"]}}}, "no such field (did you mean 'model.activation'?)"),
        ({"model": {"activation": "relu"}}, "search.space.model.activation=relu: must be a range"),
        (
            {"model": {"activation": {"choices": ["rulu"]}}},
            "search.space.model.activation.choices=rulu: must be one of",
        ),
        ({"model": {"activation": {"choices": []}}}, "must be a list of at least one value"),
        ({"model": {"activation": {"choices": ["relu", "relu"]}}}, "must not name one twice"),
        ({"model": {"activation": {"low": 1, "high": 2}}}, "search.space.model.activation.low=1: must be one of"),
        ({"optimizer": {"nesterov": {"low": False, "high": True}}}, "is no number and has no range; give it choices"),
        ({"optimizer": {"learning_rate": {"low": 1}}}, "search.space.optimizer.learning_rate.high is missing"),
        ({"optimizer": {"learning_rate": {"low": 2, "high": 1}}}, "low=2 must be less than high=1"),
        ({"optimizer": {"learning_rate": {"low": 0, "high": 1}}}, "learning_rate.low=0: must be more than 0"),
        ({"optimizer": {"weight_decay": {"low": 0, "high": 1, "log": True}}}, "log=true: low must be more than 0"),
        ({"optimizer": {"learning_rate": RATE | {"step": 0.1}}}, "a logarithmic range has no step"),
        ({"trainer": {"batch_size": {"low": 1, "high": 10, "step": 4}}}, "does not divide high - low = 9"),
        ({"trainer": {"batch_size": {"low": 1, "high": 10, "step": 0.5}}}, "must be a whole number"),
        ({"trainer": {"batch_size": {"low": 1, "high": 10, "stpe": 1}}}, "no such key; allowed are choices, low"),
        ({"trainer": {"batch_size": {"low": 1, "choices": [1]}}}, "choices or a range, not both"),
        ({"trainer": {"epochs": {"low": 1, "high": 10}}}, "search.space.trainer.epochs: is not searched"),
        ({"tracking": {"uri": {"choices": ["a"]}}}, "search.space.tracking.uri: no such field"),
        ({"seed": {"low": 1, "high": 3}}, "search.space.seed: no such field"),
        (
            {"optimizer": {"momentum": {"low": 0, "high": 0.9, "when": {"optimizer.nam": "sgd"}}}},
            "search.space.optimizer.momentum.when.optimizer.nam: is not in the space",
        ),
        (
            {
                "optimizer": {
                    "momentum": {"low": 0, "high": 0.9, "when": {"optimizer.name": "sgd"}},
                    "name": {"choices": ["adam"]},
                }
            },
            "when.optimizer.name=sgd: the space never chooses that",
        ),
        (
            {
                "optimizer": {
                    "beta1": {"low": 0, "high": 0.9, "when": {"optimizer.beta2": 0.5}},
                    "beta2": {"low": 0, "high": 0.9, "when": {"optimizer.beta1": 0.5}},
                }
            },
            "depend on each other",
        ),
    ],
)
def test_what_cannot_be_searched_is_one_line(tree: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_space(tree)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_field_that_several_groups_know_has_all_their_types() -> None:
    assert len(field_types("optimizer.name", "")) == 3  # sgd; adam and adamw; sdlm
    assert len(field_types("optimizer.learning_rate", "")) == 1
    assert len(field_types("optimizer.momentum", "")) == 1
