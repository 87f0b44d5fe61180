from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from hydra_plugins.lenet_sweeper._translation import WHERE, SweeperConfig, read_parameter, read_sweep
from lenet.config.compose import VERSION_BASE, register_resolvers
from lenet.config.validation import parse
from lenet.core.errors import ConfigError
from lenet.core.project import Project
from lenet.search.search_space import Parameter
from lenet.search.spec import SearchSpec

RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
WORDS = (RATE, "model.activation=tanh,relu", "data=tiny")


@pytest.fixture
def config(project: Project) -> Iterator[DictConfig]:
    """The sweep's config, as Hydra has it when the sweeper begins."""
    register_resolvers(project)
    with initialize_config_dir(str(project.conf), version_base=VERSION_BASE):
        yield hydra_compose("config", overrides=["hydra/sweeper=optuna"], return_hydra_config=True)


def read(config: DictConfig, words: Sequence[str] = WORDS, **settings: Any) -> SearchSpec:
    return read_sweep(parse(SweeperConfig, settings, WHERE), words, config, GlobalHydra.instance().config_loader())


@pytest.mark.parametrize(
    ("word", "leaf"),
    [
        ("a=tanh,relu", {"choices": ["tanh", "relu"]}),
        ("a=1,2.5,null,true", {"choices": [1, 2.5, None, True]}),
        ("a='x y',x", {"choices": ["x y", "x"]}),
        ("a=range(1,4)", {"low": 1, "high": 3, "step": 1}),
        ("a=range(9,0,-4)", {"low": 1, "high": 9, "step": 4}),
        ("a=range(4,5)", {"choices": [4]}),
        ("a=tag(log,range(1,100))", {"low": 1, "high": 99, "log": True}),
        ("a=range(0.1,0.5,0.1)", {"low": 0.1, "high": 0.4, "step": 0.1}),
        ("a=interval(0,1)", {"low": 0, "high": 1}),
        ("a=tag(log,interval(1e-4,1e-1))", {"low": 1e-4, "high": 0.1, "log": True}),
        ("a=int(interval(1,8))", {"low": 1, "high": 8}),
        ("a=tag(log,int,interval(1,8))", {"low": 1, "high": 8, "log": True}),
    ],
)
def test_hydras_sweeps_are_leaves_of_a_search_space(word: str, leaf: dict[str, Any]) -> None:
    (override,) = OverridesParser.create().parse_overrides([word])
    assert read_parameter(override) == leaf


def test_a_sweep_is_a_search(config: DictConfig) -> None:
    fixed = ("trainer.epochs=3", "seed=7", "experiment=lenet5_relu", "data=tiny", "seed=4")
    words = (*fixed, RATE, "optimizer=adam,sgd", "optimizer/schedule=cosine,constant")
    spec = read(config, words, n_trials=7, n_jobs=2, sampler="random", pruner="asha", seed=5, study_name="mine")
    assert [one.name for one in spec.space.parameters] == [
        "optimizer.name", "optimizer.learning_rate", "optimizer.schedule.name",
    ]  # fmt: skip
    assert Parameter("optimizer.learning_rate", low=1e-4, high=0.1, log=True) in spec.space.parameters
    assert spec.overrides == ("experiment=lenet5_relu", "data=tiny")
    search = spec.search
    assert (search.trials, search.workers, search.sampler, search.pruner) == (7, 2, "random", "asha")
    assert (search.seed, search.sampler_seed, search.epochs, search.name) == (4, 5, 3, "mine")
    assert len(spec.bases) == 4
    assert spec.base.data.name == "tiny"
    values = {"optimizer.name": "sgd", "optimizer.learning_rate": 0.01, "optimizer.schedule.name": "constant"}
    assert spec.train_overrides(values) == (
        *spec.overrides, "optimizer=sgd", "optimizer.learning_rate=0.01", "optimizer/schedule=constant",
        "trainer.epochs=3", "seed=4",
    )  # fmt: skip


def test_the_order_of_words_and_the_budget_are_no_part_of_the_study(config: DictConfig) -> None:
    name = read(config).study_name("digest")
    assert re.fullmatch(r"sweep-[0-9a-f]{12}", name)
    shuffled = [RATE, "model.activation=shuffle(tanh,relu)", "data=tiny"]
    for other in (read(config, WORDS[::-1], n_trials=99, n_jobs=1), read(config, shuffled)):
        assert other.study_name("digest") == name
    others = [read(config, sampler="gp"), read(config, seed=2), read(config, [*WORDS, "trainer.epochs=2"])]
    assert len({name, *(other.study_name("digest") for other in others)}) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing is swept"),
        (["seed=1", "model.activation=relu"], "nothing is swept"),
        (["model.activation=tanh,rellu"], "model.activation.choices=rellu: must be one of"),
        (["optimizer.learning_rate=interval(0,1)"], "optimizer.learning_rate.low=0: must be more than 0"),
        (["optimizer.learning_rate=interval(0.1,0.1)"], "low=0.1 must be less than high=0.1"),
        (["optimizer.weight_decay=tag(log,interval(0,1))"], "optimizer.weight_decay.log=true: low must be more than 0"),
        (["optimizer.learning_rate=tag(lgo,interval(1,2))"], "tag lgo: must be one of log, int (did you mean 'log'?)"),
        (["trainer.batch_size=interval(0.5,64)"], "trainer.batch_size.low=0.5: must be a whole number"),
        (["trainer.batch_size=range(3,3)"], "has no value"),
        (["trainer.batch_size=range(1,5,0)"], "has no value"),
        (["trainer.batch_size=tag(log,range(1,9,2))"], "a logarithmic range has no step"),
        (["modle.activation=tanh,relu"], "modle.activation: no such field (did you mean 'model.activation'?)"),
        (["seed=1,2"], "swept.seed: no such field"),
        (["trainer.epochs=1,2"], "swept.trainer.epochs: is not searched"),
        (["+model.activation=tanh,relu"], "a swept key is written without"),
        (["optimizer=adam,sgd", "optimizer.momentum=0.5,0.9"], "optimizer.momentum: no such key"),
        (["model.activation=tanh,relu", "data.validation_size=0"], "data.validation_size=0: "),
        (["model.activation=tanh,relu", "model.pooling=maxx"], "model.pooling=maxx: must be one of"),
        (["model.activation=tanh,("], "mismatched input '('"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    project: Project, config: DictConfig, words: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(config, ["data=tiny", *words])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (project.home / "searches").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_trials": 0}, "hydra.sweeper.n_trials=0: must be at least 1"),
        ({"n_trials": None}, "hydra.sweeper.n_trials=None: must be a whole number"),
        ({"sampler": "tpee"}, "hydra.sweeper.sampler=tpee: must be one of tpe, gp, random, qmc, cmaes (did you mean"),
        ({"direction": "maximize"}, "hydra.sweeper.direction=maximize"),
        ({"seed": -1}, "hydra.sweeper.seed=-1"),
        ({"storage": "mysql://host/x"}, "hydra.sweeper.storage=mysql://host/x: must be sqlite"),
        ({"study_name": "../x"}, "hydra.sweeper.study_name=../x: must be a name of letters"),
    ],
)
def test_a_wrong_setting_is_one_line(config: DictConfig, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(config, **settings)


def test_another_launcher_is_refused(project: Project, config: DictConfig) -> None:
    config.hydra.launcher._target_ = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    with pytest.raises(ConfigError, match=r"^hydra/launcher: "):
        read(config)


def test_hydra_finds_the_plugin_with_its_settings(config: DictConfig) -> None:
    plugins = {f"{plugin.__module__}.{plugin.__name__}" for plugin in Plugins.instance().discover(Sweeper)}
    assert config.hydra.sweeper._target_ in plugins
    settings = {key: value for key, value in config.hydra.sweeper.items() if key != "_target_"}
    assert parse(SweeperConfig, settings, WHERE) == SweeperConfig()
    with pytest.raises(Exception, match="trials"):
        hydra_compose("config", overrides=["hydra/sweeper=optuna", "hydra.sweeper.trials=3"])


def test_hydra_starts_without_slow_libraries() -> None:
    code = "import hydra_plugins.lenet_sweeper.sweeper, sys; print(*{'torch', 'optuna', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
