"""What is typed wrongly to train.py is one line, in one process for all: composed and checked, never trained."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.plugins.launcher import Launcher

from lenet.config.compose import compose, to_config
from lenet.config.hydra_errors import OWN_FAULT, own_faults
from lenet.config.schema import Config
from lenet.core.cli_errors import TRACEBACK_VARIABLE, exit_on_error
from lenet.core.errors import EXIT_USAGE, ConfigError
from lenet.core.project import Project
from lenet.hydra_app.main import run_app
from lenet.search.spec import read_spec

REPOSITORY = Path(__file__).parents[2]
OPTIONS = "lenet5, lenet5_1998, lenet5_batchnorm, lenet5_relu, lenet5_sigmoid, refitted, searched"
MULTIRUN = "several values; `python train.py -m "
WRITTEN = "is not written as key=value or group=option"

WRONG = {
    # a group's choice that is no name, or none of its names
    "model=null": "model=null: must be one of lenet5",
    "model=3": "model=3: must be one of lenet5",
    "model=true": "model=true: must be one of lenet5",
    "data=null": "data=null: must be one of fashion_mnist, mnist",
    "tracking=1e3": "tracking=1e3: must be one of mlflow",
    "optimizer/schedule=null": "optimizer/schedule=null: must be one of constant, cosine, lecun1998, one_cycle, step",
    "experiment=null": f"experiment=null: must be one of {OPTIONS}",
    "experiment=": f"experiment=: must be one of {OPTIONS}",
    "model=": "model=: must be one of lenet5",
    "model=[]": "model.name is missing",
    "experiment=lenet7": f"experiment=lenet7: must be one of {OPTIONS}",
    "experiment=lenet5/x": f"experiment=lenet5/x: must be one of {OPTIONS}",
    "experiment={a:1}": f"experiment: must be one of {OPTIONS}",
    "model=/data/mnist": "model=/data/mnist: must be one of lenet5",
    "model=../data/mnist": "model.name=mnist: must be one of lenet5",
    "optimizer=adam.learning_rate": "must be one of adam, adamw, sdlm, sgd",
    "trainer=GPU": "trainer=GPU: must be one of auto, cpu, debug, gpu",
    "=3": "=3: must be the name of an option",
    "hydra=null": "hydra=null: must be the name of an option",
    # several values without -m
    "experiment=1,2": f"experiment=1,2: is {MULTIRUN}experiment=1,2`",
    "model.activation=tanh,relu": f"model.activation=tanh,relu: is {MULTIRUN}model.activation=tanh,relu`",
    "model.activation=choice(tanh,relu)": f"{MULTIRUN}'model.activation=choice(tanh,relu)'`",
    "seed=range(1,3)": f"{MULTIRUN}'seed=range(1,3)'`",
    "seed=interval(1,3)": f"{MULTIRUN}'seed=interval(1,3)'`",
    "optimizer=glob(*)": f"{MULTIRUN}'optimizer=glob(*)'`",
    # + and ~
    "+experiment=lenet5_relu": "+experiment: is chosen already; leave out the +",
    "++experiment=lenet5_relu": "force-add of config groups is not supported: '++experiment=lenet5_relu'",
    "+experiment=nope": f"experiment=nope: must be one of {OPTIONS}",
    "~experiment": "name is missing",
    "~experiment=lenet6": "No match in the defaults list",
    "+model=lenet5": "+model: is chosen already; leave out the +",
    "~model": "model.name is missing",
    "~nope": "'nope' does not exist",
    "+x.y.z=3": "x: no such key; keys are name, seed",
    "++seed.a=3": "must be a whole number",
    "+model@x=lenet5": "x: no such key",
    # keys that train.py does not know
    "epochs=1": "epochs: no such key (did you mean 'trainer.epochs'?); `python train.py --cfg job` shows them all",
    "uri=x": "(did you mean 'tracking.uri'?)",
    "search.epochs=1": "search.epochs: no such key; `python train.py --cfg job`",
    "search=recipe": "search: must be",
    "defaults=[]": "defaults: no such key;",
    "seed.a=3": "seed.a: no such key (did you mean 'seed'?)",
    "hydra.sweeper.direction=minimize": "hydra.sweeper's keys are _target_, max_batch_size, params",
    "hydra.nope=1": "hydra.nope: no such key; hydra's keys are ",
    "hydra=x": "hydra: no such key; `python train.py --cfg hydra` shows them all",
    "hydra/nope=x": "hydra/nope: no such group; the groups are augmentation, data",
    "model/nope=3": "model/nope: no such group",
    "optimizer@model=adam": "optimizer@model: no such group",
    # Hydra's own knobs
    "hydra/launcher=joblib": "hydra/launcher=joblib: is not installed; `pip install hydra-joblib-launcher`",
    "-m hydra/launcher=submitit_slurm": "is not installed; `pip install hydra-submitit-launcher`",
    "hydra/launcher=nope": "hydra/launcher=nope: must be one of basic",
    "hydra/sweeper=nevergrad": "hydra/sweeper=nevergrad: must be one of basic, optuna",
    "hydra.mode=nope": "hydra.mode=nope: Invalid value 'nope', expected one of [RUN, MULTIRUN]",
    "hydra.verbose=3": "hydra.verbose=3: Hydra cannot use what was typed (AssertionError; LENET_TRACEBACK=1 shows",
    "hydra.job.chdir=maybe": "hydra.job.chdir=maybe: Value 'maybe' is not a valid bool",
    "hydra.searchpath=[nope://x]": "hydra.searchpath=[nope://x]: No config source registered for schema nope",
    "hydra.run.dir=/proc/nope": "No such file or directory: '/proc/nope'",
    "+hydra.callbacks.x._target_=nothing.nothing": "Error locating target 'nothing.nothing'",
    "-m hydra.launcher._target_=os.system": "Invalid plugin 'os.system': not the hydra_plugins package",
    "-m hydra.sweeper._target_=os.system": "Invalid plugin 'os.system'",
    "-m hydra.launcher=null": "Hydra launcher is not configured",
    "-m hydra.sweeper=null": "Hydra sweeper is not configured",
    "-m hydra.sweeper.max_batch_size=0 seed=1,2": "Hydra cannot use what was typed",
    "-m hydra.sweeper.params.seed=1,2": "Sweeping over Hydra's configuration is not supported",
    # options
    "--experimental-rerun nothing.pickle": "File nothing.pickle does not exist!",
    "-cn nope": "-cn nope: ",
    "-cp nope": "Primary config ",
    "-cd nope": "Additional config directory",
    "-m --cfg job": "Only one of --run, --multirun, --cfg",
    "--resolve": "--resolve flag can only be used",
    "-sc query=bash": "COMP_LINE",
    # sweeps
    "-m model=null,lenet5": "model=null: must be one of lenet5",
    "-m model.activation=tanh,rellu": "model.activation=rellu: must be one of",
    "-m seed=range(1,3,0)": "seed=range(1,3,0): range() arg 3 must not be zero",
    "-m seed=range(3,3)": "seed=range(3,3): has no value",
    "-m seed=interval(1,3)": "seed=interval(1,3): is an interval, which lists no values; hydra/sweeper=optuna",
    "-m optimizer=glob(x*)": "optimizer=glob(x*): has no value",
    "-m experiment=lenet5,nope": f"experiment=nope: must be one of {OPTIONS}",
    "-m model.activation=tanh,(": f"model.activation=tanh,(: {WRITTEN}",
    # what Hydra's grammar cannot read
    "''": f"an empty word: {WRITTEN}",
    "' '": f"an empty word: {WRITTEN}",
    "experiment": f"experiment: {WRITTEN}",
    "experiment:lenet5": f"experiment:lenet5: {WRITTEN}",
    "experiment==lenet5": f"experiment==lenet5: {WRITTEN}",
    "model..activation=x": f"model..activation=x: {WRITTEN}",
    "model.activation=relu,": f"model.activation=relu,: {WRITTEN}",
    "model.activation=[": f"model.activation=[: {WRITTEN}",
    "seed=${": f"seed=${{: {WRITTEN}",
    "seed=int(x)": f"seed=int(x): {WRITTEN} (ValueError while evaluating 'int(x)'",
    "'trainer.epochs=5;ls'": f"trainer.epochs=5;ls: {WRITTEN}",
    # values
    "seed=${seed}": "Recursive interpolation detected",
    "seed=${oc.env:NOPE}": "Environment variable 'NOPE' not found",
    "seed=???": "Missing mandatory value: seed",
    "seed=99999999999999999999999999": "at most 4294967295",
    "data.origin=3": "data.origin=3: must be a group of keys",
}

Typed = Callable[..., tuple[int, list[str]]]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without data, which nobody writes to."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(REPOSITORY / "conf", root / "conf")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(REPOSITORY / name, root / name)
    return Project(root, root)


@pytest.fixture
def jobs() -> list[Config]:
    """The configs of the jobs that would have been trained."""
    return []


@pytest.fixture
def typed(
    house: Project,
    jobs: list[Config],
    tmp_path: Path,
    clean_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Typed:
    """Types words to train.py, whose job composes and trains nothing; gives the exit code and lines on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("LENET_HOME", str(tmp_path / "home"))

    def compose_job(tree: Any) -> float:
        jobs.append(exit_on_error(lambda: to_config(tree)))
        return 1.0

    def run(words: str, job: Callable[[Any], Any] = compose_job) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", [str(house.root / "train.py"), *shlex.split(words)])
        code = 0
        try:
            run_app(hydra.main(version_base="1.3", config_path=str(house.conf), config_name="config")(job))
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capfd.readouterr().err.splitlines()

    return run


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_command_line_is_one_line_and_trains_nothing(
    typed: Typed, jobs: list[Config], tmp_path: Path, words: str
) -> None:
    code, lines = typed(words)
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert WRONG[words] in lines[0]
    assert "_global_" not in lines[0]
    assert not lines[0].endswith((":", ";"))
    assert code == (1 if "/proc" in words else EXIT_USAGE)
    assert not jobs
    assert not [path for path in tmp_path.rglob("*") if not path.is_dir()]


def test_what_is_right_is_composed(typed: Typed, jobs: list[Config]) -> None:
    assert typed("experiment=lenet5_relu seed=2 tracking.uri=null") == (0, [])
    assert [(job.name, job.seed) for job in jobs] == [("lenet5_relu", 2)]


def test_a_glob_is_swept(typed: Typed, jobs: list[Config]) -> None:
    assert typed("-m hydra/launcher=basic 'optimizer=glob(*,exclude=[adamw,sdlm])' 'experiment=glob(*_relu)'")[0] == 0
    assert [(job.optimizer.name, job.name) for job in jobs] == [
        ("adam", "lenet5_relu"),
        ("sgd", "lenet5_relu"),
    ]


def test_what_is_swept_in_a_file_is_checked_whole_before_it_is_trained(
    typed: Typed, jobs: list[Config], house: Project
) -> None:
    path = house.conf / "experiment" / "swept.yaml"
    body = "# @package _global_\nname: swept\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      {}\n"
    try:
        path.write_text(body.format("model.activation: tanh,rellu"))
        code, lines = typed("experiment=swept")
        assert (code, len(lines)) == (EXIT_USAGE, 1)
        assert "model.activation=rellu: must be one of" in lines[0]
        assert not jobs
        path.write_text(body.format("seed: 1,2"))
        assert typed("experiment=swept model.activation=relu hydra/launcher=basic")[0] == 0
    finally:
        path.unlink()
    found = [(job.name, job.seed, job.model.activation) for job in jobs]
    assert found == [("swept", seed, "relu") for seed in (1, 2)]


def test_a_file_that_does_not_say_where_it_belongs_is_told_to(typed: Typed, house: Project) -> None:
    path = house.conf / "experiment" / "bare.yaml"
    try:
        path.write_text("name: bare\n")
        assert typed("experiment=bare")[1] == [
            "error: conf/experiment: the chosen file must open with the line `# @package _global_`"
        ]
    finally:
        path.unlink()


@pytest.mark.parametrize("words", ["seed=2", "-m seed=2,3 hydra/launcher=basic"])
def test_a_fault_of_ours_is_shown_whole(typed: Typed, words: str) -> None:
    def faulty(tree: Any) -> None:
        with own_faults():
            raise ValueError("ours")

    with pytest.raises(ValueError, match="ours") as caught:
        typed(words, faulty)
    assert caught.value.__notes__ == [OWN_FAULT]


def test_what_a_user_can_act_on_is_no_fault_of_ours() -> None:
    with pytest.raises(ConfigError) as caught, own_faults():
        raise ConfigError("a user's mistake")
    assert not hasattr(caught.value, "__notes__")


def test_what_a_launcher_cannot_do_is_a_line_and_the_rest_is_there_when_asked_for(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    def refuse(self: Launcher, *values: Any, **named: Any) -> None:
        raise RuntimeError('Could not detect "srun", are you indeed on a slurm cluster?')

    monkeypatch.setattr(BasicLauncher, "launch", refuse)
    code, lines = typed("-m seed=1,2 hydra/launcher=basic")
    message = 'error: Could not detect "srun", are you indeed on a slurm cluster? (RuntimeError; LENET_TRACEBACK=1'
    assert code == EXIT_USAGE
    assert [line[: len(message)] for line in lines] == [message]
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    with pytest.raises(ConfigError) as caught:
        typed("-m seed=1,2 hydra/launcher=basic")
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=null"], "model=null: must be one of lenet5"),
        (["search=null"], "search=null: must be"),
        (
            ["search.epochz=1"],
            "search.epochz: no such key (did you mean 'search.epochs'?); conf/search/recipe.yaml has",
        ),
        (["epochs=1"], "epochs: no such key (did you mean 'trainer.epochs'?)"),
        (["optimizer=glob(*)"], "optimizer=glob(*): is several values"),
        (["trainer.threads=("], WRITTEN),
    ],
)
def test_a_wrong_search_is_one_line(project: Project, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read_spec(project, words)
    assert "\n" not in str(caught.value)


def test_another_projects_overrides_are_explained_too(project: Project) -> None:
    with pytest.raises(ConfigError, match="data=3: must be one of fashion_mnist, mnist, tiny"):
        compose(project, ["seed=1", "data=3"])
