from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lenet.config.schema import Config, parse_config
from lenet.config.validation import flatten
from lenet.core.errors import ConfigError
from lenet.runs.fingerprint import fingerprint

CANNOT_CHANGE_WEIGHTS = {
    "name",
    "tracking.uri",
    "tracking.experiment",
    "trainer.accelerator",
    "trainer.strategy",
    "trainer.cuda_graphs",
    "trainer.threads",
    "trainer.checkpoint_seconds",
    "trainer.progress",
}

OTHER_VALUES: dict[str, Any] = {
    "name": "another",
    "seed": 2,
    "data.name": "another",
    "data.channels": 3,
    "data.height": 20,
    "data.width": 20,
    "data.classes": ["a", "b"],
    "data.train_size": 499,
    "data.validation_size": 199,
    "model.activation": "relu",
    "model.pooling": "max",
    "model.normalization": "batch",
    "model.initialization": "kaiming",
    "augmentation.shift": 2,
    "optimizer.learning_rate": 0.004,
    "optimizer.beta1": 0.8,
    "optimizer.beta2": 0.98,
    "optimizer.weight_decay": 0.1,
    "optimizer.label_smoothing": 0.1,
    "optimizer.schedule.warmup_fraction": 0.3,
    "optimizer.schedule.final_fraction": 0.02,
    "trainer.epochs": 3,
    "trainer.batch_size": 25,
    "trainer.accumulate": 2,
    "trainer.gradient_clip": 1.0,
    "trainer.early_stopping.patience": 3,
    "trainer.early_stopping.min_delta": 0.1,
    "trainer.max_batches": 3,
    "trainer.precision": "bf16",
    "trainer.devices": 2,
    "trainer.accelerator": "auto",
    "trainer.strategy": "ddp",
    "trainer.kernel": "fused",
    "trainer.cuda_graphs": False,
    "trainer.threads": 2,
    "trainer.checkpoint_seconds": 9.0,
    "trainer.progress": True,
    "tracking.uri": "sqlite:///other.db",
    "tracking.experiment": "another",
}
SINGLE_CHOICE = {"model.name"}
CHANGED_AS_A_GROUP: dict[str, dict[str, Any]] = {
    "augmentation.name": {"augmentation": {"name": "none", "shift": 0}},
    "optimizer.name": {"optimizer__name": "adamw"},
    "optimizer.schedule.name": {"optimizer__schedule": {"name": "constant"}},
}

MakeConfig = Callable[..., Config]
MakeTree = Callable[..., dict[str, Any]]


def test_the_table_below_speaks_of_every_knob(make_config: MakeConfig) -> None:
    knobs = {name for name, _ in flatten(make_config().tree())}
    assert knobs == {*OTHER_VALUES, *SINGLE_CHOICE, *CHANGED_AS_A_GROUP}


@pytest.mark.parametrize("knob", [*OTHER_VALUES, *CHANGED_AS_A_GROUP])
def test_identity_holds_what_can_change_the_weights_and_nothing_else(make_config: MakeConfig, knob: str) -> None:
    change = CHANGED_AS_A_GROUP.get(knob) or {knob.replace(".", "__"): OTHER_VALUES[knob]}
    first, second = make_config(trainer__kernel="torch"), make_config(**{"trainer__kernel": "torch"} | change)
    assert first.tree() != second.tree()
    is_same = fingerprint(first, "data", "code") == fingerprint(second, "data", "code")
    assert is_same == (knob in CANNOT_CHANGE_WEIGHTS)


def test_identity_differs_between_optimizers_of_the_same_numbers(make_config: MakeConfig) -> None:
    assert make_config().identity() != make_config(optimizer__name="adamw").identity()


def test_where_the_data_comes_from_is_no_part_of_it(make_config: MakeConfig, make_tree: MakeTree) -> None:
    file = {"name": "f", "sha256": "0"}
    origin: dict[str, Any] = dict.fromkeys(("train_images", "train_labels", "test_images", "test_labels"), file)
    origin["sources"] = [{"name": "folder", "path": "/x"}]
    config = parse_config(make_tree(data__origin=origin))
    assert config.data.origin is not None
    assert config.data.origin.sources[0].name == "folder"
    assert config.tree() == make_config().tree()


def test_a_tree_comes_back_as_the_same_config(make_config: MakeConfig) -> None:
    for config in (make_config(), make_config(optimizer__schedule={"name": "constant"}, data__train_size=None)):
        assert parse_config(config.tree()) == config


def test_a_seed_changes_nothing_else(make_config: MakeConfig) -> None:
    tree = make_config().with_seed(7).tree()
    assert tree == make_config().tree() | {"seed": 7}
    assert make_config().with_seed(1) == make_config()


SDLM = {
    "name": "sdlm",
    "learning_rate": 0.0005,
    "damping": 0.02,
    "samples": 500,
    "label_smoothing": 0.0,
    "schedule": {"name": "lecun1998"},
}


def sgd(**change: Any) -> dict[str, Any]:
    body = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0}
    return body | {"label_smoothing": 0.0, "schedule": {"name": "constant"}} | change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed=-1: must be at least 0 and at most 4"),
        ({"seed": 2**32}, "seed=4294967296: must be at least 0 and at most"),
        ({"seed": True}, "seed=True: must be a whole number"),
        ({"data__classes": ["a"]}, "data.classes: names 1 classes; must be 2 to 256"),
        ({"data__train_size": 0}, "data.train_size=0: must be at least 1"),
        ({"data__validation_size": -1}, "data.validation_size=-1: must be at least 0"),
        ({"model__name": "lenet6"}, "model.name=lenet6: must be one of lenet5, lenet5_1998 (did you mean 'lenet5'?)"),
        ({"model__activation": "tahn"}, "model.activation=tahn: must be one of tanh, scaled_tanh, sigmoid, relu"),
        ({"model__pooling": "min"}, "model.pooling=min: must be one of average, max"),
        ({"augmentation__shift": 9}, "augmentation.shift=9: must be at least 0 and at most 8"),
        ({"optimizer__learning_rate": 0}, "optimizer.learning_rate=0: must be more than 0 and at most 100"),
        ({"optimizer__learning_rate": float("nan")}, "optimizer.learning_rate=nan: must be a number"),
        ({"optimizer__beta2": 1.0}, "optimizer.beta2=1.0: must be at least 0 and at most 0.99999"),
        ({"optimizer__label_smoothing": 1.0}, "optimizer.label_smoothing=1.0: must be at least 0 and at most 0.99"),
        ({"optimizer__momentum": 0.9}, "optimizer.momentum: no such key; optimizer's keys are name, learning_rate"),
        ({"optimizer": sgd(beta1=0.9)}, "optimizer.beta1: no such key; optimizer's keys are name, learning_rate"),
        ({"optimizer__schedule__name": "linear"}, "optimizer.schedule.name=linear: must be one of constant, cosine"),
        (
            {"optimizer__schedule__warmup_fraction": 1.1},
            "optimizer.schedule.warmup_fraction=1.1: must be at least 0 and at most 1",
        ),
        ({"trainer__epochs": 0}, "trainer.epochs=0: must be at least 1 and at most 100000"),
        ({"trainer__epochs": 2.5}, "trainer.epochs=2.5: must be a whole number"),
        ({"trainer__precision": "fp16"}, "trainer.precision=fp16: must be one of fp32, bf16"),
        ({"optimizer": SDLM}, "optimizer=sdlm: takes its steps in the kernel of model=lenet5_1998 alone"),
        ({"trainer__checkpoint_seconds": float("inf")}, "trainer.checkpoint_seconds=inf: must be a number"),
        ({"tracking__experiment": 3}, "tracking.experiment=3: must be a text"),
        (
            {"tracking__uri": "http://me:secret@host:5000"},
            "tracking.uri=http://me@host:5000: has a password, and a config is kept and shown; leave it out here, and"
            " give it in the environment (MLFLOW_TRACKING_URI, LENET_STUDY_STORAGE) or in ~/.netrc",
        ),
        (
            {"trainer__early_stopping__patience": 2, "data__validation_size": 0},
            "trainer.early_stopping.patience=2: needs validation images",
        ),
        (
            {"trainer__devices": 3, "trainer__batch_size": 128},
            "trainer.batch_size=128: must be a multiple of trainer.devices=3",
        ),
        (
            {"augmentation": {"name": "none", "shift": 1}},
            "augmentation.shift=1: augmentation=none has none; use augmentation=shift",
        ),
        ({"optimizer": sgd(momentum=0)}, "optimizer.nesterov=true: needs optimizer.momentum more than 0"),
        ({"modle": {}}, "modle: no such key; keys are name, seed, data, model"),
    ],
)
def test_what_is_not_allowed_is_one_line(make_tree: MakeTree, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(make_tree(**change))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_not_a_tree_at_all() -> None:
    for body in (None, [], "text", 3):
        with pytest.raises(ConfigError, match="must be a group of keys"):
            parse_config(body)
