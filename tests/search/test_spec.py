from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest

from lenet.config.compose import compose
from lenet.config.params import read_params
from lenet.config.schema import SgdConfig
from lenet.core.errors import ConfigError
from lenet.core.project import Project
from lenet.kernels.choice import resolve_kernel
from lenet.pipeline.search_stages import search_words
from lenet.search.spec import SearchSpec, read_spec

ReadTiny = Callable[..., SearchSpec]

GROUPS = {
    "optimizer": {"name": {"choices": ["adam", "sgd"]}, "schedule": {"name": {"choices": ["cosine", "constant"]}}}
}
MOMENTUM = {"low": 0.5, "high": 0.95, "when": {"optimizer.name": "sgd"}}


def test_the_projects_own_search_is_right(project: Project) -> None:
    spec = read_spec(project, [])
    assert spec.search.name == "recipe"
    assert len(spec.space.parameters) >= 5


def test_a_trial_is_the_base_with_its_values(read_tiny: ReadTiny) -> None:
    spec = read_tiny("augmentation.shift=2")
    config = spec.config_for({"optimizer.learning_rate": 0.01})
    assert config.optimizer.learning_rate == 0.01
    assert (config.augmentation.shift, config.model.activation) == (2, "relu")
    assert (config.trainer.epochs, config.trainer.threads, config.seed) == (2, 1, 1)


def test_a_groups_name_chooses_its_file(read_tiny: ReadTiny) -> None:
    spec = read_tiny(space={"optimizer": GROUPS["optimizer"] | {"momentum": MOMENTUM}})
    assignment = {"optimizer.name": "sgd", "optimizer.schedule.name": "cosine", "optimizer.momentum": 0.7}
    config = spec.config_for(assignment)
    assert isinstance(config.optimizer, SgdConfig)
    assert (config.optimizer.momentum, config.optimizer.schedule.name) == (0.7, "cosine")
    assert {"optimizer/schedule=cosine", "optimizer=sgd"} <= set(spec.train_overrides(assignment))


@pytest.mark.parametrize(
    ("space", "assignment"),
    [
        (None, {"optimizer.learning_rate": 0.0123456789}),
        (GROUPS, dict(zip(("optimizer.name", "optimizer.schedule.name"), ("sgd", "constant"), strict=True))),
    ],
)
def test_train_py_trains_a_trials_run(read_tiny: ReadTiny, space: object, assignment: dict[str, object]) -> None:
    spec = read_tiny(**({"space": space} if space else {}))
    typed = compose(spec.project, spec.train_overrides(assignment))
    assert resolve_kernel(typed).identity() == spec.config_for(assignment).identity()


def test_a_spec_survives_pickling_and_edits_of_conf(read_tiny: ReadTiny, project: Project) -> None:
    spec = read_tiny(space=GROUPS)
    assignment = {"optimizer.name": "sgd", "optimizer.schedule.name": "cosine"}
    before = spec.config_for(assignment)
    copy = pickle.loads(pickle.dumps(spec))
    sgd = project.conf / "optimizer" / "sgd.yaml"
    sgd.write_text(sgd.read_text().replace("momentum: 0.9", "momentum: 0.8"))
    assert copy.config_for(assignment) == before
    assert copy.study_name("digest") == spec.study_name("digest")
    assert read_tiny(space=GROUPS).study_name("digest") != spec.study_name("digest")


def test_budget_workers_and_storage_are_no_part_of_the_study(read_tiny: ReadTiny) -> None:
    name = read_tiny().study_name("digest")
    for word in ("search.trials=9", "search.minutes=1", "search.workers=3", "search.storage=sqlite:///x.db"):
        assert read_tiny(word).study_name("digest") == name
    for word in (
        "search.epochs=3",
        "search.seed=2",
        "search.sampler=tpe",
        "search.pruner=asha",
        "search.limits.parameters=61000",
        "search.space.optimizer.learning_rate.high=0.03",
        "augmentation.shift=2",
    ):
        assert read_tiny(word).study_name("digest") != name
    assert read_tiny().study_name("other data") != name


def test_a_field_that_was_taken_out_of_the_space_can_be_typed(project: Project) -> None:
    spec = read_spec(project, ["~search.space.model.activation", "model.activation=tanh", "optimizer=adam"])
    assert spec.base.model.activation == "tanh"
    assert "model.activation" not in [one.name for one in spec.space.parameters]


def test_overrides_of_params_yaml_hold_for_the_pipelines_search(project: Project) -> None:
    params = read_params(project)
    words = search_words(replace(params, overrides=("++trainer.epochs=3", "data.train_size=400")))
    spec = read_spec(project, words)
    assert (spec.base.trainer.epochs, spec.base.data.train_size) == (3, 400)
    with pytest.raises(ConfigError, match=r"^model\.pooling=max: is searched by conf/search/recipe\.yaml"):
        read_spec(project, search_words(replace(params, overrides=("model.pooling=max",))))


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        (["search.trials=0"], {}, "search.trials=0: must be at least 1"),
        (["search.minutes=0"], {}, "search.minutes=0: must be more than 0"),
        (["search.trials=null"], {}, "search.trials=null, search.minutes=null: "),
        (["search.sampler=tpee"], {}, "must be one of tpe, gp, random, qmc, cmaes (did you mean 'tpe'?)"),
        (["search.trails=3"], {}, "search.trails: no such key (did you mean 'search.trials'?)"),
        (["+search.trails=3"], {}, "search.trails: no such key; search's keys are name"),
        (["search=nothing"], {}, "search=nothing: must be one of"),
        (["seed=3"], {}, "use search.seed="),
        (["++trainer.epochs=3"], {}, "use search.epochs="),
        (["optimizer.learning_rate=0.1"], {}, "take it out of the space with ~search.space.optimizer.learning_rate"),
        (["++optimizer.learning_rate=0.1"], {}, "~search.space.optimizer.learning_rate"),
        (["optimizer=sgd"], {"space": GROUPS}, "~search.space.optimizer.name"),
        (["optimizer.name=sgd"], {"space": GROUPS}, "~search.space.optimizer.name"),
        (["optimizer.schedule={name:cosine}"], {"space": GROUPS}, "~search.space.optimizer.schedule.name"),
        (["data.validation_size=0"], {}, "data.validation_size=0: "),
        (["search.objectives=[parameters]"], {}, "the first must be val/error"),
        (["search.objectives=[val/error,latency_ms]", "search.pruner=asha"], {}, "search.pruner=asha: "),
        (["search.objectives=[val/error,latency_ms]", "search.sampler=cmaes"], {}, "search.sampler=cmaes: "),
        ([], {"space": {}}, "search.space: is empty"),
        ([], {"space": {"optimizer": {"momentum": {"low": 0, "high": 0.9}}}}, "optimizer.momentum: no such key"),
        (
            [],
            {"space": {"optimizer": {"name": {"choices": ["adam", "sgd"]}, "beta1": {"low": 0, "high": 0.9}}}},
            "(with optimizer.name=sgd; `when` ",
        ),
        (["augmentation=none"], {"space": {"augmentation": {"shift": {"low": 0, "high": 2}}}}, "augmentation.shift=2"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    read_tiny: ReadTiny, project: Project, words: list[str], change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_tiny(*words, **change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (project.home / "searches").exists()
