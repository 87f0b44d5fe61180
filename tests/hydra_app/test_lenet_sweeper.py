from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from hydra_plugins.lenet_sweeper._question import SearchSpec, read_spec
from hydra_plugins.lenet_sweeper._space import SweepSpace, read_overrides
from hydra_plugins.lenet_sweeper._sweep import sweep
from lenet.config.compose import VERSION_BASE, register_resolvers
from lenet.core.errors import ConfigError, LenetError
from lenet.core.project import Project
from lenet.hydra_app.main import CONCLUSION, folder_of
from lenet.search.samplers import named_sampler

KNOBS: dict[str, Any] = {
    "n_trials": 5,
    "sampler": "random",
    "startup_trials": 2,
    "seed": 1,
    "storage": None,
    "study_name": None,
}
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
WORDS = (RATE, "model.activation=tanh,relu", "data=tiny")


class RecordingLauncher(Launcher):
    """Answers a job with what `answer` says of its overrides, instead of training."""

    def __init__(self, answer: Callable[[int, Sequence[str]], float | None]) -> None:
        self.answer = answer
        self.jobs: dict[int, list[str]] = {}

    def setup(self, **kwargs: Any) -> None:
        pass

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        (words,) = job_overrides
        assert initial_job_idx not in self.jobs, "a job is launched once a command"
        self.jobs[initial_job_idx] = list(words)
        value = self.answer(initial_job_idx, words)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=value)]


@pytest.fixture
def master(project: Project) -> Iterator[DictConfig]:
    """The sweep's config, as Hydra has it when the sweeper begins."""
    register_resolvers(project)
    with initialize_config_dir(str(project.conf), version_base=VERSION_BASE):
        yield hydra_compose("config", overrides=["hydra/sweeper=optuna"], return_hydra_config=True)


def run(
    master: DictConfig,
    answer: Callable[[int, Sequence[str]], float | None] = lambda number, words: 10.0 - number,
    words: Sequence[str] = WORDS,
    tell: Callable[[str], None] = lambda line: None,
    **knobs: Any,
) -> dict[int, list[str]]:
    launcher = RecordingLauncher(answer)
    sweep(KNOBS | knobs, words, master, GlobalHydra.instance().config_loader(), launcher, tell)
    return launcher.jobs


def ask(master: DictConfig, words: Sequence[str] = WORDS, **knobs: Any) -> SearchSpec:
    loader = GlobalHydra.instance().config_loader()
    return read_spec(KNOBS | knobs, words, master, loader, lambda line: None)


def states(project: Project, path: Path | None = None) -> list[str]:
    with closing(sqlite3.connect(path or project.home / "searches" / "optuna.db")) as connection:
        return [state for (state,) in connection.execute("select state from trials order by number")]


def parameter(word: str) -> dict[str, Any]:
    """The one parameter that an override makes, without what is as usual."""
    (one,) = read_overrides([word]).swept
    usual = {"log": False, "step": None, "whole": False, "when": {}}
    return {key: value for key, value in one.parameter.tree().items() if key not in usual or value != usual[key]}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a=tanh,relu", {"choices": ["tanh", "relu"]}),
        ("a=1,2.5,null,true", {"choices": ["1", "2.5", "null", "True"]}),
        ("a='x y',[1,2],x,x", {"choices": ["'x y'", "[1,2]", "x"]}),
        ("a=range(1,4)", {"low": 1, "high": 3, "step": 1, "whole": True}),
        ("a=range(9,0,-4)", {"low": 1, "high": 9, "step": 4, "whole": True}),
        ("a=range(4,5)", {"choices": ["4"]}),
        ("a=tag(log,range(1,100))", {"low": 1, "high": 99, "log": True, "whole": True}),
        ("a=range(0.1,0.5,0.1)", {"low": 0.1, "high": 0.4, "step": 0.1}),
        ("a=interval(0,1)", {"low": 0.0, "high": 1.0}),
        ("a=tag(log,interval(1e-4,1e-1))", {"low": 1e-4, "high": 1e-1, "log": True}),
        ("a=tag(int,interval(1,8))", {"low": 1.0, "high": 8.0, "whole": True}),
        ("a=int(interval(1,8))", {"low": 1.0, "high": 8.0, "whole": True}),
        ("a=tag(log,int,interval(1,8))", {"low": 1.0, "high": 8.0, "log": True, "whole": True}),
    ],
)
def test_hydras_own_types_make_the_space(word: str, expected: dict[str, Any]) -> None:
    assert parameter(word) == expected


def test_a_shuffled_choice_is_the_same_choice_every_time() -> None:
    words = [f"a=shuffle({','.join(map(str, range(20)))})", "b=shuffle(range(20))"]
    assert len({str(read_overrides(words).space.tree()) for _ in range(5)}) == 1


def test_what_is_not_swept_holds_for_every_trial_as_typed() -> None:
    space = read_overrides(["seed=3", "experiment=lenet5_relu", "b=1,2", "+c=[1,2]", "~d", "seed=4", "a=x,y"])
    assert space.fixed == ("seed=4", "experiment=lenet5_relu", "+c=[1,2]", "~d")
    assert [one.parameter.name for one in space.swept] == ["a", "b"]
    assert space.words({"a": "x", "b": "2"}) == (*space.fixed, "a=x", "b=2")


def test_a_range_of_fractions_gives_the_runs_that_the_basic_sweeper_gives() -> None:
    (one,) = read_overrides(["a=range(0.1,0.5,0.1)"]).swept
    assert [one.word(value) for value in (0.1, 0.2, 0.3, 0.4)] == ["a=0.1", "a=0.2", "a=0.30000000000000004", "a=0.4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing is swept"),
        (["a=1", "b=[1,2]"], "nothing is swept"),
        (["a=interval(1,1)"], "a=interval(1,1): the interval's start must be less than its end"),
        (["a=interval(0,inf)"], "start must be less than its end"),
        (["a=tag(log,interval(0,1))"], "the lowest value must be more than 0, it is 0"),
        (["a=tag(int,interval(0.5,3))"], "must be whole"),
        (["a=tag(lgo,interval(1,2))"], "tag lgo: must be one of log, int (did you mean 'log'?)"),
        (["a=tag(log,choice(1,2))"], "tag log: choices have none"),
        (["a=range(3,3)"], "has no value"),
        (["a=range(0.5,0.1)"], "has no value"),
        (["a=range(1,5,0)"], "step must not be 0"),
        (["a=tag(log,range(1,9,2))"], "has no step but 1"),
        (["a=tag(log,range(0.1,0.9,0.1))"], "use interval"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_a_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read_overrides(words)
    assert "\n" not in str(caught.value)


def ends(conf: Path, *words: str) -> list[dict[str, Any]]:
    space: SweepSpace = read_overrides(words)
    return list(space.ends(conf))


def test_every_end_is_looked_at_with_every_combination_of_groups(project: Project) -> None:
    found = ends(project.conf, "optimizer=sgd,adam", "augmentation=none,shift", "seed=1,2,3", "x=interval(0,1)")
    assert len(found) == 2 * 2 * 3
    assert {one["seed"] for one in found if one["optimizer"] == "sgd"} == {"1", "2", "3"}
    assert {one["x"] for one in found} == {0.0, 1.0}
    with pytest.raises(ConfigError, match="optimizer: are 300 combinations of groups"):
        ends(project.conf, f"optimizer={','.join(f'o{number}' for number in range(300))}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.activation=tanh,rellu"], "model.activation=rellu: must be one of"),
        (["optimizer.learning_rate=interval(0,1)"], "optimizer.learning_rate=0.0: must be more than 0"),
        (["trainer.batch_size=interval(8,64)"], "trainer.batch_size=8.0: must be a whole number"),
        (["modle.activation=tanh,relu"], "did you mean 'model.activation'"),
        (["optimizer=adam,sgd", "optimizer.momentum=0.5,0.9"], "(with optimizer=adam)"),
        (["data.train_size=100,9999"], "data.train_size=9999: must be"),
        (["data.validation_size=0,10"], "data.validation_size=0: the sweeper chooses by the validation error"),
        (["seed=1,2", "model.activation=rellu"], "model.activation=rellu: must be one of"),
        (["seed=1,("], "mismatched input '('"),
    ],
)
def test_an_end_that_is_not_allowed_is_one_line_before_anything_is_written(
    project: Project, master: DictConfig, words: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        run(master, words=["data=tiny", *words])
    assert "\n" not in str(caught.value)
    assert not (project.home / "searches").exists()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"n_trials": 0}, "hydra.sweeper.n_trials=0: must be at least 1"),
        ({"n_trials": None}, "hydra.sweeper.n_trials=None: must be a whole number"),
        ({"sampler": "tpee"}, "hydra.sweeper.sampler=tpee: must be one of tpe, gp, random, qmc, cmaes (did you mean"),
        ({"seed": -1}, "hydra.sweeper.seed=-1"),
        ({"startup_trials": -1}, "hydra.sweeper.startup_trials=-1"),
        ({"storage": "mysql://host/x"}, "hydra.sweeper.storage=mysql://host/x: must be sqlite"),
        ({"study_name": "../x"}, "hydra.sweeper.study_name=../x: must be a name of letters"),
        ({"study_name": ""}, "hydra.sweeper.study_name=: must be a name of letters"),
    ],
)
def test_a_knob_that_is_not_allowed_is_one_line_before_anything_is_written(
    project: Project, master: DictConfig, knobs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        run(master, **knobs)
    assert not (project.home / "searches").exists()


def test_the_plugin_is_found_with_typed_knobs(project: Project, master: DictConfig) -> None:
    found = {f"{plugin.__module__}.{plugin.__name__}" for plugin in Plugins.instance().discover(Sweeper)}
    assert master.hydra.sweeper._target_ in found
    assert master.hydra.sweeper.n_trials == 20
    assert set(master.hydra.sweeper) == {*KNOBS, "_target_"}
    with pytest.raises(Exception, match=r"hydra.sweeper.n_trials=many"):
        hydra_compose("config", overrides=["hydra/sweeper=optuna", "hydra.sweeper.n_trials=many"])


def test_hydra_starts_without_what_a_sweep_needs() -> None:
    code = "import hydra_plugins.lenet_sweeper.sweeper, sys; print(*{'torch', 'optuna', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_it_ends_at_its_number_of_trials_and_asked_again_proposes_nothing(
    project: Project, master: DictConfig, said: list[str]
) -> None:
    first = run(master, tell=said.append)
    assert sorted(first) == [0, 1, 2, 3, 4]
    assert states(project) == ["COMPLETE"] * 5
    assert all(words[0] == "data=tiny" for words in first.values())
    assert len({words[2] for words in first.values()}) == 5
    assert re.fullmatch(r"study sweep-[0-9a-f]{12} in sqlite:.*: 0 of 5 trials are done", said[0])
    told = (folder_of(master) / CONCLUSION).read_text()
    assert told == f"best:    6.00 % validation error, trial 4: python train.py {' '.join(first[4])}\n"

    assert run(master) == first  # the same jobs, for their folders to answer
    assert states(project) == ["COMPLETE"] * 5


def test_more_trials_go_on_and_fewer_are_the_first_ones(project: Project, master: DictConfig) -> None:
    first = run(master, n_trials=3)
    longer = run(master, n_trials=6)
    assert {number: longer[number] for number in first} == first
    assert states(project) == ["COMPLETE"] * 6
    assert run(master, n_trials=2) == {number: first[number] for number in (0, 1)}
    assert "trial 1:" in (folder_of(master) / CONCLUSION).read_text()
    assert states(project) == ["COMPLETE"] * 6


@pytest.mark.parametrize("end", [SystemExit(130), KeyboardInterrupt(), LenetError("no space left")])
def test_a_trial_that_was_interrupted_goes_on_with_its_values(
    project: Project, master: DictConfig, end: BaseException
) -> None:
    asked: list[Sequence[str]] = []

    def interrupted(number: int, words: Sequence[str]) -> float:
        asked.append(words)
        if number == 2:
            raise end
        return 1.0

    with pytest.raises(type(end)):
        run(master, interrupted)
    assert states(project) == ["COMPLETE", "COMPLETE", "WAITING"]
    assert run(master)[2] == asked[2]
    assert states(project) == ["COMPLETE"] * 5


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_lenet_sweeper import *

def answer(number, words):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1.0

project = Project(Path({root!r}), Path({root!r}))
register_resolvers(project)
with initialize_config_dir(str(project.conf), version_base=VERSION_BASE):
    run(hydra_compose("config", overrides=["hydra/sweeper=optuna"], return_hydra_config=True), answer)
"""


def test_a_trial_whose_process_was_killed_is_given_back(project: Project, master: DictConfig, said: list[str]) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), root=str(project.root))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert states(project) == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert sorted(run(master, tell=said.append)) == [0, 1, 2, 3, 4]
    assert states(project) == ["COMPLETE"] * 5
    assert said[0].endswith("2 of 5 trials are done")
    assert said[1].startswith("1 trials were left behind")


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_run_without_a_value_is_a_failed_trial_and_no_best(
    project: Project, master: DictConfig, value: float | None
) -> None:
    run(master, lambda number, words: value if number != 3 else 50.0)
    assert states(project) == ["FAIL", "FAIL", "FAIL", "COMPLETE", "FAIL"]
    assert "trial 3" in (folder_of(master) / CONCLUSION).read_text()
    run(master, lambda number, words: value)  # asked again they are shown, not counted again
    assert len(states(project)) == 5


def test_values_that_do_not_go_together_are_a_failed_trial_that_is_told(
    project: Project, master: DictConfig, said: list[str]
) -> None:
    words = ["data=tiny", "optimizer=sgd", "optimizer.momentum=0.9,0.0", "optimizer.nesterov=true,false"]
    jobs = run(master, words=words, n_trials=12, tell=said.append)
    refused = [line for line in said if "not trained" in line]
    assert refused
    assert "optimizer.nesterov=true: needs optimizer.momentum more than 0" in refused[0]
    assert states(project).count("FAIL") == len(refused) == 12 - len(jobs)
    assert run(master, words=words, n_trials=12, tell=said.append) == jobs
    assert sum("not trained" in line for line in said) == 2 * len(refused)


def test_the_same_sweep_is_the_same_study_and_another_is_another(project: Project, master: DictConfig) -> None:
    name = ask(master).study_name
    assert name == ask(master, words=WORDS[::-1], n_trials=99, storage="sqlite:///other.db").study_name
    assert name == ask(master, words=[*WORDS, "tracking.experiment=x", "trainer.threads=1"]).study_name
    others = [
        ask(master, sampler="tpe"),
        ask(master, seed=2),
        ask(master, startup_trials=3),
        ask(master, words=[*WORDS, "trainer.epochs=2"]),
        ask(master, words=[RATE, "model.activation=tanh,relu,silu", "data=tiny"]),
        ask(master, words=[RATE.replace("1e-1", "1e-2"), *WORDS[1:]]),
    ]
    path = project.conf / "optimizer" / "adam.yaml"
    path.write_text(path.read_text().replace("beta2: 0.", "beta2: 0.1"))
    others.append(ask(master))
    names = {other.study_name for other in others}
    assert len(names) == len(others)
    assert name not in names
    assert ask(master, study_name="mine").study_name == "mine"


def test_a_study_of_a_name_is_one_sweeps_alone(project: Project, master: DictConfig) -> None:
    database = project.home / "mine.db"
    knobs = {"study_name": "mine", "storage": "sqlite:///mine.db", "n_trials": 2}
    run(master, **knobs)
    assert states(project, database) == ["COMPLETE"] * 2
    with pytest.raises(ConfigError, match=r"hydra.sweeper.study_name=mine: is another sweep's study"):
        run(master, words=["seed=1,2", "data=tiny"], **knobs)
    run(master, **knobs | {"n_trials": 3})
    assert states(project, database) == ["COMPLETE"] * 3


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "qmc", "cmaes"])
def test_every_sampler_proposes(project: Project, master: DictConfig, sampler: str) -> None:
    if sampler == "cmaes":
        pytest.importorskip("cmaes")
    words = [*WORDS, "trainer.batch_size=range(20,60,10)", "optimizer.label_smoothing=range(0.0,0.3,0.1)"]
    jobs = run(master, words=words, sampler=sampler, startup_trials=1, n_trials=3)
    assert states(project) == ["COMPLETE"] * 3
    assert {word.split("=")[0] for word in jobs[2]} >= {"trainer.batch_size", "optimizer.label_smoothing"}


def test_two_seats_do_not_propose_the_same() -> None:
    import optuna

    drawn = []
    for seat in (1, 2, 1):
        trial = optuna.create_study(sampler=named_sampler("random", 0, 1, seat)).ask()
        drawn.append(trial.suggest_float("x", 0, 1))
    assert drawn[0] == drawn[2] != drawn[1]
