from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lenet.config.schema import Config
from lenet.core.errors import ConfigError, LenetError
from lenet.core.project import Project
from lenet.evaluation.stats.welch import welch_test
from lenet.report.compare_recipes import compare_recipes, read_recipes
from lenet.runs.fingerprint import code_digest, fingerprint
from lenet.runs.run_dir import RunDir

A, B = "model.activation=tanh", "model.activation=relu"
TANH, RELU = [0.9, 0.8, 1.0, 0.95, 0.85], [0.5, 0.6, 0.7, 0.55, 0.65]

Train = Callable[..., list[RunDir]]


@pytest.fixture
def train(project: Project, make_config: Callable[..., Config]) -> Train:
    """Write run directories as a training would leave them: one a seed, with these validation errors."""

    def write(
        errors: Sequence[float], first_seed: int = 1, data: str = "d", code: str = "c", **knobs: Any
    ) -> list[RunDir]:
        state = knobs.pop("state", "FINISHED")
        runs = []
        for seed, error in enumerate(errors, first_seed):
            config, digests = make_config(seed=seed, **knobs), {"data_digest": data, "code_digest": code}
            run = RunDir(project.runs / fingerprint(config, *digests.values()))
            run.write_identity({"name": "", "config": config.tree(), "overrides": [], "sweeps": []} | digests)
            run.write("status.json", {"state": state, "message": "", "attempts": [], "files": {}})
            run.write("history.json", {"epochs": [{"epoch": 1, "val/error": error}]})
            runs.append(run)
        return runs

    return write


def test_filters_choose_finished_runs_by_seed(project: Project, train: Train) -> None:
    tanh = train(TANH)
    relu = train(RELU[:3], first_seed=4, model__activation="relu", name="lenet5_relu")
    train([0.1], first_seed=9, state="KILLED")
    a, b = read_recipes(project, (A, f"{B},experiment=lenet5_relu"))
    assert {seed: run.folder for seed, run in a.runs.items()} == dict(enumerate(tanh, 1))
    assert {seed: run.folder for seed, run in b.runs.items()} == dict(enumerate(relu, 4))
    assert (a.errors, b.errors) == (TANH, RELU[:3])
    text = compare_recipes(project, (A, "name=lenet5_relu"))
    expected = welch_test(TANH, RELU[:3])
    assert f"{expected.mean:+.2f} points, 95 % interval {expected.low:+.2f} to {expected.high:+.2f}" in text
    assert "over 5 and 3 seeds" in text
    assert "fewer than 5 seeds support no claim" in text
    assert "Seeds of both: 2." in text


def test_enough_seeds_and_a_small_p_are_significant(project: Project, train: Train) -> None:
    train(TANH)
    relu = train(RELU, model__activation="relu")
    lines = compare_recipes(project, (A, B)).splitlines()
    p = welch_test(TANH, RELU).p
    assert lines[0] == f"B's mean validation error is 0.30 points lower than A's: significant (p = {p:.2g})."
    assert [line.split() for line in lines[3:5]] == [["A", A, "5", "0.90", "0.08"], ["B", B, "5", "0.60", "0.08"]]
    assert [line.split()[:4] for line in lines if line.endswith(relu[1].short)] == [["2", "0.80", "0.60", "+0.20"]]
    assert "more than the filters say" not in "".join(lines)


def test_what_else_differs_is_said(project: Project, train: Train) -> None:
    train(TANH)
    train(RELU, model__activation="relu", trainer__epochs=7)
    text = compare_recipes(project, (A, B))
    assert "They differ in more than the filters say: trainer.epochs (2, 7)." in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainer__epochs": 9}, "trainer.epochs (2, 9)"),
        ({"data": "other"}, "data digest (d, other)"),
        ({"optimizer__learning_rate": 0.5}, "optimizer.learning_rate (0.003, 0.5)"),
    ],
)
def test_a_filter_that_chooses_several_recipes_is_refused(
    project: Project, train: Train, change: dict[str, Any], said: str
) -> None:
    train(TANH)
    train([0.5], **change)
    train(RELU, model__activation="relu")
    with pytest.raises(LenetError) as error:
        read_recipes(project, (A, B))
    assert str(error.value) == f"{A}: chooses runs that differ in {said}: add these to the filter"


def test_what_does_not_change_the_result_makes_no_other_recipe(project: Project, train: Train) -> None:
    train(TANH[:2], trainer__threads=1, name="one")
    train(TANH[2:], first_seed=3, trainer__threads=4, name="two")
    train(RELU, model__activation="relu")
    assert read_recipes(project, (A, B))[0].errors == TANH


@pytest.mark.parametrize("change", [{"data__name": "other"}, {"data__validation_size": 100}, {"data": "other"}])
def test_errors_of_other_validation_images_are_not_compared(
    project: Project, train: Train, change: dict[str, Any]
) -> None:
    train(TANH)
    train(RELU, model__activation="relu", **change)
    with pytest.raises(LenetError, match="cannot be compared"):
        read_recipes(project, (A, B))


def test_runs_of_other_training_code_are_left_out(project: Project, train: Train) -> None:
    train([5.0] * 5, code="old")
    train(RELU, code="old", model__activation="relu")
    train(TANH, code=code_digest("lenet5"))
    with pytest.raises(LenetError, match="several versions of the training code"):
        read_recipes(project, (A, B))
    train([0.4] * 5, code=code_digest("lenet5"), model__activation="relu")
    a, b = read_recipes(project, (A, B))
    assert (a.errors, b.errors) == (TANH, [0.4] * 5)


@pytest.mark.parametrize(
    ("filters", "kind"),
    [
        ((A, "model.activation=gelu"), LenetError),
        ((A, "model.activatio=relu"), ConfigError),
        ((A, "model.activation=relu,"), ConfigError),
        ((A, A), LenetError),
        ((A, "seed=1"), LenetError),
    ],
)
def test_a_filter_that_chooses_nothing_or_too_much_is_refused(
    project: Project, train: Train, filters: tuple[str, str], kind: type[Exception]
) -> None:
    train(TANH)
    train(RELU, model__activation="relu")
    with pytest.raises(kind):
        read_recipes(project, filters)


def test_the_figure_is_for_a_paper_and_has_its_table(project: Project, train: Train, tmp_path: Path) -> None:
    tanh = train(TANH)
    train(RELU, model__activation="relu")
    path = tmp_path / "new" / "figure.pdf"
    assert f"wrote {path} and {path.with_suffix('.csv')}" in compare_recipes(project, (A, B), path)
    content = path.read_bytes()
    assert b"/MediaBox [ 0 0 237.6 " in content  # points: 3.3 inches
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    compare_recipes(project, (A, B), path)
    assert path.read_bytes() == content
    rows = list(csv.DictReader(path.with_suffix(".csv").open()))
    assert [(row["side"], row["filter"], row["seed"]) for row in rows[4:6]] == [("A", A, "5"), ("B", B, "1")]
    assert (float(rows[0]["validation_error_percent"]), rows[0]["run"]) == (0.9, tanh[0].fingerprint)


def test_a_figure_of_another_kind_is_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"figure\.doc: must end with \.pdf"):
        compare_recipes(project, (A, B), tmp_path / "figure.doc")
