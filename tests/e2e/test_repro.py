"""`dvc repro` and its relatives, as a user types them, in a copy of the project with small budgets."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from shell import Shell, copy_project


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A copy of the project with two small variants, its pipeline run once, its home the project itself."""
    root = copy_project(tmp_path_factory.mktemp("pipeline") / "lenet-lab")
    params = root / "params.yaml"
    text = params.read_text()
    text = re.sub(r"variants:.*?(?=^seeds)", "variants: [lenet5, lenet5_relu]\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^seeds: \[.*?\]", "seeds: [1, 2]", text, flags=re.MULTILINE)
    text = text.replace("overrides: []", "overrides: [trainer.epochs=1, data.train_size=3000]")
    text = text.replace("trials: 20", "trials: 2").replace("candidates: 3", "candidates: 1")
    text = re.sub(r"^  seeds: \[.*?\]", "  seeds: [3]", text, flags=re.MULTILINE)  # the refit's
    text = re.sub(r"^  confirm: \[.*?\]", "  confirm: [1, 2]", text, flags=re.MULTILINE)
    params.write_text(text)
    shell = Shell(root, root)
    first = shell.run("dvc repro")
    assert "chosen on validation" in first.stderr
    shell.run("git add -A && git -c user.name=test -c user.email=test@example.org commit -qm 'small'")
    return shell


def registry(root: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return connection.execute("select name, version from model_versions").fetchall()


def test_everything_is_there(pipeline: Shell) -> None:
    evaluation = json.loads((pipeline.root / "results/evaluation.json").read_text())
    assert set(evaluation["variants"]) == {"lenet5", "lenet5_relu", "refitted"}
    means = {name: found["validation_error"]["mean"] for name, found in evaluation["variants"].items()}
    assert evaluation["choice"]["variant"] == min(means, key=lambda name: means[name])
    for found in evaluation["variants"].values():
        assert found["test_error"]["n"] == 2
        low, high = found["interval"]
        assert low < found["test_error"]["mean"] < high
    assert registry(pipeline.root) == [("lenet5", 1)]
    refit = json.loads((pipeline.root / "results/refit.json").read_text())
    assert (refit["comparison"]["n_a"], refit["comparison"]["n_b"]) == (2, 2)
    assert evaluation["threads"] == refit["threads"] == [1]
    best = (pipeline.root / "results/search/best.yaml").read_text()
    assert best.startswith("# python train.py experiment=searched\n")
    chosen = (pipeline.root / "results/refit/best.yaml").read_text()
    assert chosen.startswith(
        f"# python train.py experiment=refitted\n# Written by `lenet refit`: trial {refit['chosen']}."
    )
    assert len((pipeline.root / "results/search/trials.csv").read_text().splitlines()) == 3
    page = (pipeline.root / "results/report.html").read_text()
    assert not re.search(r"(src|href)=[\"']?https?:", page)
    chosen = evaluation["variants"][evaluation["choice"]["variant"]]["test_error"]["mean"]
    assert f"{chosen:.2f}" in page
    assert f"{chosen:.2f}" in (pipeline.root / "results/report.md").read_text()


def test_again_there_is_nothing_to_do(pipeline: Shell) -> None:
    done = pipeline.run("dvc repro")
    assert "Data and pipelines are up to date." in done.stdout
    assert "up to date" in pipeline.run("dvc status").stdout


def test_dvc_compares_a_handful_of_figures(pipeline: Shell) -> None:
    assert "train@lenet5_relu" in pipeline.run("dvc dag").stdout
    assert "one run a seed" in pipeline.run("dvc stage list").stdout
    found = json.loads(pipeline.run("dvc metrics show --json").stdout)[""]["data"]
    metrics = {path.removeprefix("results/metrics/"): file["data"] for path, file in found.items()}
    evaluation = json.loads((pipeline.root / "results/evaluation.json").read_text())["variants"]
    for variant in ("lenet5", "lenet5_relu", "refitted"):
        for kind, short, long in (
            ("validation", "val_error", "validation_error"),
            ("test", "test_error", "test_error"),
        ):
            spread = evaluation[variant][long]
            expected = {
                "mean": pytest.approx(spread["mean"], abs=5e-4),
                "sd": pytest.approx(spread["deviation"], abs=5e-4),
            }
            assert metrics.pop(f"{kind}/{variant}.json") == {short: expected}
    best = json.loads((pipeline.root / "results/search/summary.json").read_text())["best"]["val_error"]
    export = json.loads((pipeline.root / "results/export.json").read_text())
    size = {"parameters": export["parameters"], "onnx_kib": pytest.approx(export["onnx_bytes"] / 1024, abs=0.05)}
    assert metrics == {"search.json": {"best_val_error": best}, "size.json": size}


def drawn(shown: str) -> dict[str, Any]:
    """Return the Vega-Lite spec of each plot that `dvc plots … --json` has, by its file."""
    plots = json.loads(shown)
    found = {name: plot for name, plot in plots.get("data", plots).items() if plot and plot[0]["type"] == "vega"}
    contents = {name: plot[0]["content"] for name, plot in found.items()}
    return {name: json.loads(spec) if isinstance(spec, str) else spec for name, spec in contents.items()}


def test_each_seed_is_a_line_of_its_own_and_one_plot_has_all_variants(pipeline: Shell) -> None:
    plots = drawn(pipeline.run("dvc plots show --json").stdout)
    curves = {f"results/curves/{name}.csv" for name in ("lenet5", "lenet5_relu", "refitted")}
    assert set(plots) == {*curves, "results/validation_curves.csv"}
    for name in curves:
        encoding, rows = plots[name]["encoding"], plots[name]["data"]["values"]
        assert (encoding["x"]["field"], encoding["y"]["field"], encoding["color"]["field"]) == (
            "epoch",
            "val_error",
            "seed",
        )
        lines = [(row["rev"], row["seed"], row["epoch"]) for row in rows]
        assert len(lines) == len(set(lines)) == len((pipeline.root / name).read_text().splitlines()) - 1
        assert {seed for _, seed, _ in lines} == {"1", "2"}
    whole = plots["results/validation_curves.csv"]
    seeds, means = whole["layer"]
    assert whole["encoding"]["color"]["field"] == "variant"
    assert seeds["encoding"]["detail"]["field"] == "seed"
    assert means["encoding"]["y"]["aggregate"] == "mean"
    assert "detail" not in means["encoding"]
    lines = [(row["variant"], row["seed"], row["epoch"]) for row in whole["data"]["values"]]
    assert len(lines) == len(set(lines))
    expected = {(variant, seed) for variant in ("lenet5", "lenet5_relu", "refitted") for seed in ("1", "2")}
    assert {line[:2] for line in lines} == expected


def test_plots_of_two_revisions_tell_them_apart(pipeline: Shell) -> None:
    path = pipeline.root / "results/validation_curves.csv"
    before = path.read_text()
    path.write_text(before.replace("lenet5,1,1,", "lenet5,1,1,9"))
    try:
        whole = drawn(pipeline.run("dvc plots diff --json").stdout)["results/validation_curves.csv"]
    finally:
        path.write_text(before)
    assert whole["encoding"]["strokeDash"]["field"] == "rev"
    assert {row["rev"] for row in whole["data"]["values"]} == {"HEAD", "workspace"}


COMMENTED = (
    "conf/data/mnist.yaml",
    "conf/optimizer/adam.yaml",
    "conf/search/recipe.yaml",
    "src/lenet/data/download/fetch.py",
    "src/lenet/evaluation/robustness.py",
    "src/lenet/search/dashboard.py",
    "src/lenet/pipeline/stages.py",
    "src/lenet/training/fit.py",
)


@contextmanager
def edited(root: Path, changes: dict[str, Callable[[str], str]]) -> Iterator[None]:
    """Change files within the block."""
    before = {name: (root / name).read_text() for name in changes}
    try:
        for name, change in changes.items():
            (root / name).write_text(change(before[name]))
            assert (root / name).read_text() != before[name]
        yield
    finally:
        for name, text in before.items():
            (root / name).write_text(text)


def test_comments_run_compose_alone(pipeline: Shell) -> None:
    with edited(pipeline.root, dict.fromkeys(COMMENTED, "{}# a comment\n".format)):
        done = pipeline.run("dvc repro")
        assert re.findall("Running stage '(.+)'", done.stdout) == ["compose"]
    pipeline.run("dvc repro")
    assert "up to date" in pipeline.run("dvc status").stdout


@pytest.mark.parametrize(
    ("name", "old", "new", "stale"),
    [
        ("conf/search/recipe.yaml", "high: 2.0e-2", "high: 3.0e-2", {"search"}),
        (
            "src/lenet/training/optimizers.py",
            "from __future__ import annotations",
            "from __future__ import annotations\nADDED = 1",
            {"train@lenet5", "train@lenet5_relu", "search", "refit"},
        ),
        ("conf/tracking/mlflow.yaml", "experiment: null ", "experiment: elsewhere ", set()),
    ],
)
def test_what_changes_a_result_makes_its_stages_stale(
    pipeline: Shell, name: str, old: str, new: str, stale: set[str]
) -> None:
    with edited(pipeline.root, {name: lambda text: text.replace(old, new)}):
        pipeline.run("dvc repro compose")
        found = json.loads(pipeline.run("dvc status --json").stdout)
        assert set(found) == stale
    pipeline.run("dvc repro compose")


def test_one_variants_knob_trains_that_variant_alone_and_goes_back_from_the_cache(pipeline: Shell) -> None:
    path = pipeline.root / "conf/experiment/lenet5_relu.yaml"
    before = path.read_text()
    path.write_text(before.replace("learning_rate: 0.006", "learning_rate: 0.005"))
    assert path.read_text() != before
    try:
        changed = pipeline.run("dvc params diff").stdout
        done = pipeline.run("dvc repro train@lenet5_relu train@lenet5")
        assert "Running stage 'train@lenet5_relu'" in done.stdout
        assert "Running stage 'train@lenet5'" not in done.stdout
        changed = pipeline.run("dvc params diff").stdout
        assert re.search(r"build/conf/lenet5_relu\.yaml\s+optimizer\.learning_rate\s+0\.006\s+0\.005", changed)
    finally:
        path.write_text(before)
        back = pipeline.run("dvc repro")
    assert "Running stage 'train@" not in back.stdout
    assert registry(pipeline.root) == [("lenet5", 1)]


@pytest.mark.long
def test_experiment_in_a_temporary_folder_shares_runs_and_store(pipeline: Shell) -> None:
    runs_before = set(pipeline.run_folders())
    pipeline.run("dvc exp run --temp --name twice -S conf/optimizer/adam.yaml:beta1=0.8 train@lenet5")
    shown = pipeline.run("dvc exp show --csv").stdout
    assert "twice" in shown
    assert len(set(pipeline.run_folders()) - runs_before) == 2
    with closing(sqlite3.connect(pipeline.root / "mlflow.db")) as connection:
        (count,) = connection.execute("select count(*) from runs where name like 'lenet5 seed=%'").fetchone()
    assert count == 4
    assert yaml.safe_load((pipeline.root / "conf/optimizer/adam.yaml").read_text())["beta1"] == 0.9


def test_registering_twice_makes_one_version_and_a_lost_registry_is_filled_again(pipeline: Shell) -> None:
    again = pipeline.run("lenet register")
    assert "registered already" in again.stderr
    assert registry(pipeline.root) == [("lenet5", 1)]
    runs = len(pipeline.run_folders())
    for path in pipeline.root.glob("mlflow.db*"):
        path.unlink()
    assert f"{runs} brought up to date" in pipeline.run("lenet sync").stderr
    assert registry(pipeline.root) == [("lenet5", 1)]
    assert "0 brought up to date" in pipeline.run("lenet sync").stderr


def test_what_a_variant_names_must_be_there(pipeline: Shell) -> None:
    path = pipeline.root / "params.yaml"
    before = path.read_text()
    path.write_text(before.replace("lenet5_relu]", "lenet5_rlu]"))
    try:
        done = pipeline.run("lenet compose", check=False)
    finally:
        path.write_text(before)
    assert done.returncode == 2
    assert done.stderr == (
        "error: params.yaml: variants names lenet5_rlu:"
        " must be one of lenet5, lenet5_batchnorm, lenet5_relu, lenet5_sigmoid\n"
    )
