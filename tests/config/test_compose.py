from __future__ import annotations

from pathlib import Path

import pytest

from lenet.config.compose import compose
from lenet.config.schema import AdamConfig, Config, SgdConfig
from lenet.core.atomic_io import write_text
from lenet.core.errors import ConfigError
from lenet.core.project import Project
from lenet.search.results import experiment_yaml

VARIANTS = {
    "lenet5": ("tanh", "average", "none"),
    "lenet5_sigmoid": ("sigmoid", "average", "none"),
    "lenet5_relu": ("relu", "max", "none"),
    "lenet5_batchnorm": ("relu", "max", "batch"),
}


def problem(project: Project, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(project, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_default_run(project: Project) -> None:
    config = compose(project, [])
    assert isinstance(config, Config)
    assert (config.name, config.seed, config.data.name) == ("lenet5", 1, "mnist")
    assert isinstance(config.optimizer, AdamConfig)
    assert config.tracking.uri is None
    assert config.data.origin is not None


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_what_its_file_says(project: Project, variant: str) -> None:
    config = compose(project, [f"experiment={variant}"])
    model = config.model
    assert config.name == variant
    assert (model.activation, model.pooling, model.normalization) == VARIANTS[variant]
    assert config.augmentation.name == "shift"


def test_the_network_of_1998_is_trained_as_the_paper_says(project: Project) -> None:
    config = compose(project, ["experiment=lenet5_1998"])
    assert (config.model.name, config.optimizer.name, config.augmentation.name) == ("lenet5_1998", "sdlm", "none")
    assert (config.trainer.epochs, config.trainer.batch_size, config.optimizer.schedule.name) == (20, 1, "lecun1998")


def test_every_file_in_experiment_is_tested_above(project: Project) -> None:
    assert {path.stem for path in (project.conf / "experiment").glob("*.yaml")} == {
        *VARIANTS,
        "lenet5_1998",
        "searched",
        "refitted",
    }


@pytest.mark.parametrize(("name", "stage"), [("searched", "search"), ("refitted", "refit")])
def test_what_a_stage_found_is_an_experiment_once_it_is_there(project: Project, name: str, stage: str) -> None:
    assert f"no {stage} has left its best recipe yet; `dvc repro {stage}` makes one" in problem(
        project, f"experiment={name}"
    )
    words = ["experiment=lenet5_sigmoid", "optimizer=sgd", "optimizer.momentum=0.8", "augmentation.shift=2"]
    words += ["trainer.accumulate=2", "trainer.gradient_clip=1.0", "trainer.early_stopping.patience=3"]
    found = compose(project, words)
    write_text(project.root / "results" / stage / "best.yaml", experiment_yaml(found, name, "a test"))
    again = compose(project, [f"experiment={name}"])
    assert again.identity() == found.identity()
    assert again.name == name


def test_what_is_typed_stands_above_the_variant(project: Project) -> None:
    config = compose(project, ["experiment=lenet5_relu", "model.activation=gelu", "optimizer.learning_rate=1e-3"])
    assert (config.model.activation, config.optimizer.learning_rate) == ("gelu", 0.001)


@pytest.mark.parametrize("option", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "step"])
def test_every_optimizer_goes_with_every_schedule(project: Project, option: str, schedule: str) -> None:
    config = compose(project, [f"optimizer={option}", f"optimizer/schedule={schedule}"])
    assert (config.optimizer.name, config.optimizer.schedule.name) == (option, schedule)
    assert isinstance(config.optimizer, SgdConfig) == (option == "sgd")


def test_other_groups(project: Project) -> None:
    config = compose(project, ["data=tiny", "trainer=cpu", "augmentation=none", "seed=7"])
    assert (config.data.name, config.trainer.accelerator, config.augmentation.shift, config.seed) == (
        "tiny",
        "cpu",
        0,
        7,
    )
    assert compose(project, ["trainer=gpu"]).trainer.accelerator == "gpu"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.activaton=relu"],
            "model.activaton: no such key (did you mean 'model.activation'?); `python train.py --cfg job` shows them",
        ),
        (["qqqqq=1"], "qqqqq: no such key; `python train.py --cfg job` shows them all"),
        (["+model.activaton=relu"], "model.activaton: no such key; model's keys are name, activation, pooling"),
        (["+model.activation=relu"], "+model.activation: the key is there already; leave out the +"),
        (["~model.activation"], "model.activation is missing"),
        (["model=resnet"], "model=resnet: must be one of lenet5"),
        (["experiment=lenet7"], "experiment=lenet7: must be one of lenet5, lenet5_1998, lenet5_batchnorm, lenet5_relu"),
        (["data=imagenet"], "data=imagenet: must be one of fashion_mnist, mnist, tiny"),
        (["optimizer=rmsprop"], "optimizer=rmsprop: must be one of adam, adamw, sdlm, sgd"),
        (
            ["optimizer/schedule=linear"],
            "optimizer/schedule=linear: must be one of constant, cosine, lecun1998, one_cycle, step",
        ),
        (["model.activation=tahn"], "model.activation=tahn: must be one of tanh, scaled_tanh"),
        (["trainer.epochs=0"], "trainer.epochs=0: must be at least 1"),
        (["trainer.epochs=two"], "trainer.epochs=two: must be a whole number"),
        (["seed=null"], "seed=None: must be a whole number"),
        (["optimizer.learning_rate=nan"], "optimizer.learning_rate=nan: must be a number"),
        (["optimizer.learning_rate=inf"], "optimizer.learning_rate=inf: must be a number"),
        (["seed=${nothing}"], "Interpolation key 'nothing' not found"),
        (["seed=???"], "Missing mandatory value: seed"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(project: Project, overrides: list[str], message: str) -> None:
    assert problem(project, *overrides).startswith(message)


def test_a_key_of_another_option_is_not_offered_as_itself(project: Project) -> None:
    found = problem(project, "optimizer.momentum=0.9")
    assert found.startswith("optimizer.momentum: no such key")
    assert "did you mean 'optimizer.momentum'" not in found


def test_a_misspelt_group_is_named_with_the_right_one(project: Project) -> None:
    assert problem(project, "optimizr=sgd").startswith("optimizr: no such key (did you mean 'optimizer'?)")


def test_a_misspelt_key_in_a_file_is_named(project: Project) -> None:
    path = project.conf / "model" / "lenet5.yaml"
    path.write_text(path.read_text().replace("pooling:", "poolin:"))
    assert problem(project).startswith("model.poolin: no such key; model's keys are name, activation")


def test_a_misspelt_key_in_a_variant_is_named(project: Project) -> None:
    path = project.conf / "experiment" / "lenet5_relu.yaml"
    path.write_text(path.read_text().replace("learning_rate:", "learnin_rate:"))
    found = problem(project, "experiment=lenet5_relu")
    assert "optimizer.learnin_rate" in found
    assert "learning_rate" in found


def test_a_file_that_is_no_yaml_is_named(project: Project) -> None:
    (project.conf / "model" / "lenet5.yaml").write_text("name: [lenet5\n")
    assert "lenet5.yaml" in problem(project)


def test_a_file_without_a_key_is_named(project: Project) -> None:
    path = project.conf / "optimizer" / "adam.yaml"
    path.write_text(path.read_text().replace("beta1: 0.9\n", ""))
    assert problem(project) == "optimizer.beta1 is missing"


def test_composing_twice_with_other_working_folders(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compose(project, ["seed=3"])
    monkeypatch.chdir(tmp_path)
    assert compose(project, ["seed=3"]) == first
