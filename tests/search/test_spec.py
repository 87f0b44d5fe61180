from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from lenet.config.params import read_params
from lenet.config.schema import SgdConfig
from lenet.core.atomic_io import canonical_json, sha256_bytes
from lenet.core.errors import ConfigError
from lenet.core.project import Project
from lenet.runs.fingerprint import code_digest
from lenet.search import spec as question_module
from lenet.search.command import pipeline_words
from lenet.search.spec import SearchSpec, read_spec

Ask = Callable[..., SearchSpec]

GROUPS = {
    "optimizer": {"name": {"choices": ["adam", "sgd"]}, "schedule": {"name": {"choices": ["cosine", "constant"]}}}
}


def test_the_projects_own_search_is_right(project: Project) -> None:
    question = read_spec(project, [])
    assert question.search.name == "recipe"
    assert question.search.limits.parameters == 62_000
    assert len(question.space.parameters) >= 5


def test_a_trial_is_the_base_with_its_values(ask: Ask) -> None:
    question = ask("augmentation.shift=2")
    config = question.configure({"optimizer.learning_rate": 0.01})
    assert config.optimizer.learning_rate == 0.01
    assert (config.augmentation.shift, config.model.activation) == (2, "relu")
    assert (config.trainer.epochs, config.trainer.threads, config.seed) == (2, 1, 1)
    assert "optimizer.learning_rate=0.01" in question.overrides({"optimizer.learning_rate": 0.01})


def test_a_groups_name_chooses_its_file(ask: Ask) -> None:
    space = {
        "optimizer": {
            "name": {"choices": ["adam", "sgd"]},
            "momentum": {"low": 0.5, "high": 0.95, "when": {"optimizer.name": "sgd"}},
            "schedule": {"name": {"choices": ["cosine", "one_cycle"]}},
        }
    }
    question = ask(space=space)
    config = question.configure(
        {"optimizer.name": "sgd", "optimizer.momentum": 0.7, "optimizer.schedule.name": "cosine"}
    )
    assert isinstance(config.optimizer, SgdConfig)
    assert (config.optimizer.momentum, config.optimizer.schedule.name) == (0.7, "cosine")
    assert "optimizer/schedule=cosine" in question.overrides({"optimizer.schedule.name": "cosine"})


def test_budget_workers_and_place_are_no_part_of_the_study(ask: Ask, project: Project) -> None:
    name = ask().study_name("digest")
    for words in (["search.trials=9"], ["search.minutes=1"], ["search.workers=3"], ["search.storage=sqlite:///x.db"]):
        assert ask(*words).study_name("digest") == name
    for words in (
        ["search.epochs=3"],
        ["search.seed=2"],
        ["search.sampler=tpe"],
        ["search.pruner=asha"],
        ["search.limits.parameters=61000"],
        ["search.space.optimizer.learning_rate.high=0.03"],
        ["augmentation.shift=2"],
    ):
        assert ask(*words).study_name("digest") != name
    assert ask().study_name("other data") != name


def test_a_field_that_was_taken_out_of_the_space_can_be_typed(project: Project) -> None:
    question = read_spec(project, ["~search.space.model.activation", "model.activation=tanh", "optimizer=adam"])
    assert question.base.model.activation == "tanh"
    assert not [one for one in question.space.parameters if one.name == "model.activation"]


def test_what_params_yaml_says_of_every_variant_comes_through_the_same_door(project: Project) -> None:
    params = read_params(project)
    words = pipeline_words(replace(params, overrides=("++trainer.epochs=3", "data.train_size=400")))
    question = read_spec(project, words)
    assert (question.base.trainer.epochs, question.base.data.train_size) == (3, 400)
    with pytest.raises(ConfigError, match=r"model\.pooling=max: is searched by conf/search/recipe\.yaml"):
        read_spec(project, pipeline_words(replace(params, overrides=("model.pooling=max",))))


def test_the_files_of_searched_groups_are_part_of_the_study(ask: Ask, project: Project) -> None:
    alone, grouped = ask().study_name("digest"), ask(space=GROUPS).study_name("digest")
    sgd = project.conf / "optimizer" / "sgd.yaml"
    sgd.write_text(sgd.read_text().replace("momentum: 0.9", "momentum: 0.8"))
    question_module._composed.cache_clear()  # as in another process
    assert ask().study_name("digest") == alone
    assert ask(space=GROUPS).study_name("digest") != grouped


def test_without_searched_groups_a_study_has_the_name_it_always_had(project: Project) -> None:
    question = read_spec(project, [])
    meaning = asdict(question.search)
    for name in ("name", "base", "trials", "minutes", "workers", "storage"):
        del meaning[name]
    body = {
        "space": question.space.tree(),
        "base": question.base.identity(),
        "data": "digest",
        "code": code_digest(),
        "search": meaning,
    }
    digest = sha256_bytes(canonical_json(body).encode())
    assert question.study_name("digest") == f"recipe-{digest[:12]}"


def test_a_trials_run_is_that_which_train_py_would_make(ask: Ask) -> None:
    from lenet.config.compose import compose

    question = ask()
    values = {"optimizer.learning_rate": 0.0123456789}
    typed = compose(question.project, question.overrides(values))
    assert typed.identity() == question.configure(values).identity()
    assert replace(typed, name="tiny").tree()["optimizer"] == question.configure(values).tree()["optimizer"]


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        (["search.trials=0"], {}, "search.trials=0: must be at least 1"),
        (["search.minutes=0"], {}, "search.minutes=0: must be more than 0"),
        (["search.trials=null"], {}, "search.trials=null, search.minutes=null: give one of them a limit"),
        (["search.sampler=tpee"], {}, "must be one of tpe, gp, random, qmc, cmaes (did you mean 'tpe'?)"),
        (["search.trails=3"], {}, "search.trails: no such key (did you mean 'search.trials'?)"),
        (["+search.trails=3"], {}, "search.trails: no such key; search's keys are name"),
        (["search=nothing"], {}, "search=nothing: must be one of"),
        (["seed=3"], {}, "seed=3: a search has its own; use search.seed="),
        (["trainer.epochs=3"], {}, "trainer.epochs=3: a search has its own; use search.epochs="),
        (["++seed=3"], {}, "++seed=3: a search has its own; use search.seed="),
        (["+trainer.epochs=3"], {}, "+trainer.epochs=3: a search has its own; use search.epochs="),
        (
            ["optimizer.learning_rate=0.1"],
            {},
            "optimizer.learning_rate=0.1: is searched by conf/search/tiny.yaml;"
            " take it out of the space with ~search.space.optimizer.learning_rate",
        ),
        (["++optimizer.learning_rate=0.1"], {}, "~search.space.optimizer.learning_rate"),
        (["optimizer=sgd"], {"space": GROUPS}, "optimizer=sgd: is searched by conf/search/tiny.yaml; take it out of"),
        (["optimizer.name=sgd"], {"space": GROUPS}, "with ~search.space.optimizer.name"),
        (["optimizer/schedule=cosine"], {"space": GROUPS}, "with ~search.space.optimizer.schedule.name"),
        (["optimizer.schedule={name:cosine}"], {"space": GROUPS}, "with ~search.space.optimizer.schedule.name"),
        (["data.validation_size=0"], {}, "a search chooses by the validation error"),
        (["search.objectives=[parameters]"], {}, "the first must be val/error"),
        (
            ["search.objectives=[val/error,latency_ms]", "search.pruner=asha"],
            {},
            "with two objectives no trial is ended",
        ),
        (["search.objectives=[val/error,latency_ms]", "search.sampler=cmaes"], {}, "knows one objective"),
        ([], {"space": {}}, "search.space: is empty"),
        ([], {"space": {"optimizer": {"momentum": {"low": 0, "high": 0.9}}}}, "optimizer.momentum: no such key"),
        (
            [],
            {"space": {"optimizer": {"name": {"choices": ["adam", "sgd"]}, "beta1": {"low": 0, "high": 0.9}}}},
            "(with optimizer.name=sgd; `when` can bring a field in for some choices alone)",
        ),
        (
            ["augmentation=none"],
            {"space": {"augmentation": {"shift": {"low": 0, "high": 2}}}},
            "augmentation=none has none",
        ),
    ],
)
def test_what_is_not_right_is_one_line_and_nothing_is_written(
    ask: Ask, project: Project, words: list[str], change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        ask(*words, **change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (project.home / "searches").exists()
