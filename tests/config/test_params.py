from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lenet.config.params import (
    EvaluateParams,
    Gate,
    Params,
    RefitParams,
    RegisterParams,
    SearchParams,
    compose_variants,
    read_params,
    read_variant,
    write_variants,
)
from lenet.core.errors import ConfigError
from lenet.core.project import Project

PARAMS: dict[str, Any] = {
    "data": "tiny",
    "variants": ["lenet5", "lenet5_relu"],
    "seeds": [1, 2],
    "overrides": ["trainer.epochs=2", "trainer=cpu"],
    "search": {"name": "recipe", "trials": 4, "workers": 0},
    "refit": {"candidates": 2, "seeds": [3], "confirm": [1, 2], "baseline": "lenet5_relu"},
    "evaluate": {"confidence": 0.9},
    "gate": {"margin_points": 0.3, "confidence": 0.9, "floor_error_percent": 5, "alpha": 0.01, "reference": "digits/1"},
    "register": {"model": "digits"},
}


def write_params(project: Project, **change: object) -> None:
    (project.root / "params.yaml").write_text(yaml.safe_dump(PARAMS | change))


def test_the_projects_own_params_are_right(project: Project) -> None:
    params = read_params(project)
    configs = compose_variants(project, params)
    assert tuple(configs) == params.variants
    assert len(set(params.seeds)) == len(params.seeds) >= 3


def test_params_are_read(project: Project) -> None:
    write_params(project)
    expected = Params(
        data="tiny",
        variants=("lenet5", "lenet5_relu"),
        seeds=(1, 2),
        overrides=("trainer.epochs=2", "trainer=cpu"),
        search=SearchParams("recipe", 4, 0),
        refit=RefitParams(2, (3,), (1, 2), "lenet5_relu"),
        evaluate=EvaluateParams(0.9),
        gate=Gate(0.3, 0.9, 5.0, 0.01, "digits/1"),
        register=RegisterParams("digits"),
    )
    assert read_params(project) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variants": []}, "params.yaml: variants=[]: must name at least one"),
        ({"seeds": []}, "params.yaml: seeds=[]: must name at least one"),
        (
            {"refit": PARAMS["refit"] | {"confirm": [1]}},
            "params.yaml: refit.confirm=[1]: a comparison needs at least 2",
        ),
        (
            {"refit": PARAMS["refit"] | {"confirm": [1, 3]}},
            "params.yaml: refit.confirm=[1, 3]: 3 is in refit.seeds too; seeds that chose a recipe",
        ),
        ({"refit": PARAMS["refit"] | {"seeds": []}}, "params.yaml: refit.seeds=[]: must name at least one"),
        ({"variants": ["lenet5_relu", "searched"]}, "params.yaml: variants names searched: the pipeline makes it"),
        ({"variants": ["lenet5_relu", "refitted"]}, "params.yaml: variants names refitted: the pipeline makes it"),
        ({"seeds": [1, 1]}, "params.yaml: seeds=[1, 1]: must not name one twice"),
        ({"variants": ["lenet5", "lenet5"]}, "params.yaml: variants=['lenet5', 'lenet5']: must not name one twice"),
        ({"seeds": 3}, "params.yaml: seeds=3: must be a list"),
        ({"seeds": [1.5]}, "params.yaml: seeds[0]=1.5: must be a whole number"),
        ({"seeds": [-1]}, "params.yaml: seeds[0]=-1: must be at least 0"),
        ({"evaluate": {"confidence": 1}}, "params.yaml: evaluate.confidence=1"),
        ({"gate": PARAMS["gate"] | {"margin_points": 0}}, "params.yaml: gate.margin_points=0: must be more than 0"),
        ({"gate": PARAMS["gate"] | {"reference": 1}}, "params.yaml: gate.reference=1: must be a text"),
        ({"seed": [1]}, "params.yaml: seed: no such key; keys are data, variants, seeds"),
    ],
)
def test_a_mistake_in_params_is_one_line(project: Project, change: dict[str, object], message: str) -> None:
    write_params(project, **change)
    with pytest.raises(ConfigError) as caught:
        read_params(project)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_params_that_are_no_yaml(project: Project) -> None:
    (project.root / "params.yaml").write_text("data: [mnist\n")
    with pytest.raises(ConfigError, match=r"params\.yaml: not readable as YAML: ") as caught:
        read_params(project)
    assert "\n" not in str(caught.value)


def test_variants_are_composed_with_data_and_overrides(project: Project) -> None:
    write_params(project)
    configs = compose_variants(project, read_params(project))
    assert list(configs) == ["lenet5", "lenet5_relu"]
    for name, config in configs.items():
        assert (config.name, config.data.name, config.trainer.epochs) == (name, "tiny", 2)
        assert config.trainer.accelerator == "cpu"


def test_an_unknown_variant_or_override_is_one_line(project: Project) -> None:
    write_params(project, variants=["lenet7"], refit=PARAMS["refit"] | {"baseline": "lenet7"})
    with pytest.raises(
        ConfigError, match=r"^params\.yaml: variants names lenet7: must be one of lenet5, lenet5_1998, lenet5_batch"
    ):
        compose_variants(project, read_params(project))
    write_params(project, refit=PARAMS["refit"] | {"baseline": "lenet5_sigmoid"})
    with pytest.raises(
        ConfigError, match=r"^params\.yaml: refit\.baseline=lenet5_sigmoid: must be one of variants, lenet5,"
    ):
        compose_variants(project, read_params(project))
    write_params(project, overrides=["trainer.epoch=2"])
    with pytest.raises(ConfigError, match=r"trainer\.epoch: no such key \(did you mean 'trainer\.epochs'\?\)"):
        compose_variants(project, read_params(project))


def test_written_variants_come_back_for_each_seed(project: Project) -> None:
    write_params(project)
    configs = compose_variants(project, read_params(project))
    written = write_variants(project, configs)
    assert written == [project.root / "build" / "conf" / f"{name}.yaml" for name in configs]
    for name, config in configs.items():
        for seed in (1, 5):
            found = read_variant(project, name, seed)
            assert found.tree() == config.with_seed(seed).tree()
            assert found.identity() == config.with_seed(seed).identity()


def test_variants_that_are_no_more_lose_their_file(project: Project) -> None:
    write_params(project)
    configs = compose_variants(project, read_params(project))
    write_variants(project, configs)
    write_variants(project, {"lenet5": configs["lenet5"]})
    assert [path.name for path in (project.root / "build" / "conf").iterdir()] == ["lenet5.yaml"]


def test_writing_twice_writes_the_same_bytes(project: Project) -> None:
    write_params(project)

    def written() -> dict[Path, bytes]:
        paths = write_variants(project, compose_variants(project, read_params(project)))
        return {path: path.read_bytes() for path in paths}

    assert written() == written()


def test_a_variant_that_is_not_composed_says_what_to_run(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"lenet5\.yaml: is missing; `lenet compose` writes it$"):
        read_variant(project, "lenet5", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", "not readable as YAML"), ("just text", "must be a group"), ("", "must be a group")],
)
def test_a_variant_that_is_not_a_config(project: Project, content: str, message: str) -> None:
    path = project.root / "build" / "conf" / "lenet5.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_variant(project, "lenet5", 1)


@pytest.mark.parametrize("written", ["2e-1", "0.2", ".2", "2.0e-1"])
def test_numbers_are_read_as_in_conf_and_on_the_command_line(project: Project, written: str) -> None:
    path = project.root / "params.yaml"
    text = path.read_text()
    assert "margin_points: 0.2 " in text
    path.write_text(text.replace("margin_points: 0.2 ", f"margin_points: {written} "))
    assert read_params(project).gate.margin_points == 0.2


def test_a_key_that_comes_twice_is_refused(project: Project) -> None:
    path = project.root / "params.yaml"
    path.write_text(path.read_text() + "seeds: [9]\n")
    with pytest.raises(ConfigError, match=r"params\.yaml: not readable as YAML: .*duplicate key seeds"):
        read_params(project)
