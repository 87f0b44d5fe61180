"""What each stage's result is made of: what cannot change it is not in its file, what can is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import lenet
from lenet.config.params import Params, read_params
from lenet.config.schema import Config
from lenet.config.validation import flatten
from lenet.core.atomic_io import canonical_json, sha256_bytes
from lenet.core.project import Project
from lenet.pipeline.search_stages import search_words
from lenet.pipeline.stage_inputs import CODE, resolve_inputs, write_inputs
from lenet.runs.fingerprint import code_digest, source_trees
from lenet.search.spec import read_spec
from sources import edit

PACKAGE = Path(lenet.__file__).parent
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def params(project: Project) -> Params:
    return replace(read_params(project), data="tiny")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    copy = tmp_path / "lenet"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def counted() -> dict[str, set[str]]:
    """The modules whose syntax trees are digested, by stage."""
    found = {stage: source_trees(PACKAGE, code.starts, code.counted, code.ignored) for stage, code in CODE.items()}
    return {stage: set(trees) for stage, trees in found.items()}


def changed_stages(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    assert before.keys() == after.keys()
    return {stage for stage in before if before[stage] != after[stage]}


def test_a_comment_in_any_file_of_conf_changes_nothing(project: Project, params: Params) -> None:
    before = resolve_inputs(project, params)
    for path in project.conf.rglob("*.yaml"):
        path.write_text(f"{path.read_text()}\n# a comment\n")
    assert resolve_inputs(project, params) == before


@pytest.mark.parametrize(
    ("name", "change", "stages"),
    [
        ("data/tiny", lambda tree: tree["origin"].update(sources=[]), set()),
        ("data/tiny", lambda tree: tree["origin"]["test_labels"].update(sha256="0" * 64), {"fetch", "prepare"}),
        ("data/tiny", lambda tree: tree.update(validation_size=100), {"prepare", "search"}),
        ("tracking/mlflow", lambda tree: tree.update(experiment="elsewhere"), set()),
        ("trainer/auto", lambda tree: tree.update(checkpoint_seconds=9.0), set()),
        ("experiment/lenet5_relu", lambda tree: tree["optimizer"].update(learning_rate=0.5), {"search"}),
        ("experiment/lenet5_sigmoid", lambda tree: tree["optimizer"].update(learning_rate=0.5), set()),
        ("search/recipe", lambda tree: tree["space"]["augmentation"]["shift"].update(high=3), {"search"}),
        ("search/recipe", lambda tree: tree.update(seed=1), {"search"}),
        ("search/recipe", lambda tree: tree.update(minutes=9), {"search"}),
        ("search/recipe", lambda tree: tree.update(storage="sqlite:///elsewhere.db"), set()),
    ],
)
def test_a_value_in_conf_changes_the_stages_whose_results_it_changes(
    project: Project, params: Params, name: str, change: Callable[[dict[str, Any]], None], stages: set[str]
) -> None:
    before = resolve_inputs(project, params)
    path = project.conf / f"{name}.yaml"
    tree = yaml.safe_load(path.read_text())
    change(tree)
    head, _, _ = path.read_text().partition("\n")  # of an experiment: where it belongs
    head = head if head.startswith("#") else f"# {name}"
    path.write_text(f"{head}\n{yaml.safe_dump(tree, sort_keys=False)}")
    assert changed_stages(before, resolve_inputs(project, params)) == stages


def test_the_budget_of_the_search_counts_and_the_number_of_its_workers_does_not(
    project: Project, params: Params
) -> None:
    before = resolve_inputs(project, params)
    assert resolve_inputs(project, replace(params, search=replace(params.search, workers=7))) == before
    more = resolve_inputs(project, replace(params, search=replace(params.search, trials=99)))
    assert changed_stages(before, more) == {"search"}


def test_the_search_is_told_by_what_its_study_is_named_after(project: Project, params: Params) -> None:
    told = resolve_inputs(project, params)["search"]
    body = {name: value for name, value in told.items() if name not in ("budget", "code")}
    digest = sha256_bytes(canonical_json(body | {"data": "of the data", "code": code_digest("lenet5")}).encode())
    name = read_spec(project, search_words(params)).study_name("of the data")
    assert name == f"recipe-{digest[:12]}"


def test_written_inputs_are_plain_yaml_and_those_of_stages_that_are_no_more_are_deleted(
    project: Project, params: Params
) -> None:
    inputs = resolve_inputs(project, params)
    written = write_inputs(project, inputs)
    for path in written:
        assert canonical_json(yaml.safe_load(path.read_text())) == canonical_json(inputs[path.stem])
        assert "&id" not in path.read_text()
    write_inputs(project, {"fetch": inputs["fetch"]})
    assert [path.name for path in written[0].parent.iterdir()] == ["fetch.yaml"]


def test_comments_change_no_stage_and_a_statement_does(package: Path) -> None:
    before = {stage: code.digest() for stage, code in CODE.items()}
    for path in package.rglob("*.py"):
        path.write_text(f"{path.read_text(encoding='utf-8')}\n# the end\n", encoding="utf-8")
    assert {stage: code.digest(package) for stage, code in CODE.items()} == before
    edit(
        package / "pipeline/outs.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nADDED = 1\n",
    )
    assert changed_stages(before, {stage: code.digest(package) for stage, code in CODE.items()}) == {"train", "refit"}
    template = package / "report/templates/model_card.md.j2"
    template.write_text(template.read_text(encoding="utf-8") + "more", encoding="utf-8")
    changed = changed_stages(before, {stage: code.digest(package) for stage, code in CODE.items()})
    assert changed == {"train", "refit", "register", "report"}


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("data/download/fetch.py", set()),
        ("data/split.py", {"prepare"}),
        ("search/dashboard.py", set()),
        ("search/progress.py", set()),
        ("search/samplers.py", {"search"}),
        ("search/spec.py", {"search"}),
        ("search/refit.py", {"refit"}),
        ("pipeline/outs.py", {"train", "refit"}),
        ("pipeline/stages.py", {"evaluate"}),
        ("evaluation/metrics.py", {"train", "refit", "evaluate"}),
        ("evaluation/robustness.py", {"evaluate"}),
        ("export/onnx_file.py", {"export"}),
        ("models/lenet5.py", {"export"}),  # beside what the digest of training has of it
        ("report/build_report.py", {"report"}),
        ("report/facts.py", {"register", "report"}),
        ("registry/register.py", {"register"}),
        ("tracking/background_sync.py", set()),
        ("cli.py", set()),
    ],
)
def test_a_source_counts_for_the_stages_that_it_can_change(
    counted: dict[str, set[str]], name: str, stages: set[str]
) -> None:
    module = ".".join(("lenet", *Path(name).with_suffix("").parts))
    assert {stage for stage, modules in counted.items() if module in modules} == stages


@pytest.mark.parametrize("stage", CODE)
def test_all_that_a_stage_counts_is_there(stage: str) -> None:
    for module in (CODE[stage].start, *CODE[stage].counted, *CODE[stage].ignored):
        path = PACKAGE.joinpath(*module.split(".")[1:])
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"{stage}: {module} is no module"


def test_dvc_knows_the_inputs_of_each_stage_and_no_other_of_conf_and_sources(
    project: Project, params: Params, make_config: Callable[..., Config]
) -> None:
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    assert set(stages) == {"compose", *resolve_inputs(project, params)}
    identity = {name for name, _ in flatten(make_config().identity())} - {"seed"}
    for name, stage in stages.items():
        deps = stage["deps"]
        if name == "compose":
            assert deps == ["conf", "src/lenet"]
            continue
        assert f"build/conf/stages/{name}.yaml" in deps
        assert not [dep for dep in deps if dep.startswith(("conf", "src"))]
        for entry in stage.get("params", []):
            for path, keys in entry.items() if isinstance(entry, dict) else ():
                assert path.startswith("build/conf/${")
                assert {key for key in identity if key.startswith(tuple(keys))} == identity
                assert "tracking" not in keys
                assert "trainer" not in keys
