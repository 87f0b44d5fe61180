"""`dvc repro` and its relatives as a user types them, in a copy of the project with tiny data and small budgets."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from shell import GIT, Shell, add_tiny_data, copy_project

from lenet.kernels.library import suitable_levels

VARIANTS = ("lenet5", "lenet5_relu", "refitted")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Shell:
    """A copy of the project with two small variants, its pipeline run once, its home the project itself."""
    root = copy_project(tmp_path_factory.mktemp("pipeline") / "lenet-lab")
    add_tiny_data(root, tiny_data)
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text()) | {"data": "tiny", "variants": ["lenet5", "lenet5_relu"], "seeds": [1, 2]}
    params["overrides"] = ["trainer.epochs=1"]
    params["search"] |= {"trials": 2}
    params["refit"] |= {"candidates": 1, "seeds": [3], "confirm": [1, 2]}
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    shell = Shell(root, root)
    assert "chosen on validation" in shell.run("dvc repro").stderr
    shell.run(f"git add -A && {GIT} commit -qm small")
    return shell


@contextmanager
def edited(shell: Shell, changes: dict[str, tuple[str, str]]) -> Iterator[None]:
    """Replace the first of two texts by the second one in some files, within the block."""
    before = {name: (shell.root / name).read_text() for name in changes}
    try:
        for name, (old, new) in changes.items():
            assert old in before[name]
            (shell.root / name).write_text(before[name].replace(old, new, 1))
        yield
    finally:
        for name, text in before.items():
            (shell.root / name).write_text(text)


def query(root: Path, text: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return connection.execute(text).fetchall()


def versions(root: Path) -> list[tuple[object, ...]]:
    return query(root, "select name, version from model_versions")


def read(shell: Shell, name: str) -> Any:
    return json.loads((shell.root / "results" / name).read_text())


def test_everything_is_there(pipeline: Shell) -> None:
    results = pipeline.root / "results"
    evaluation, refit = read(pipeline, "evaluation.json"), read(pipeline, "refit.json")
    assert set(evaluation["variants"]) == set(VARIANTS)
    means = {name: found["validation_error"]["mean"] for name, found in evaluation["variants"].items()}
    assert evaluation["choice"]["variant"] == min(means, key=lambda name: means[name])
    for found in evaluation["variants"].values():
        assert found["test_error"]["n"] == 2
        low, high = found["interval"]
        assert low <= found["test_error"]["mean"] <= high
    assert (refit["comparison"]["n_a"], refit["comparison"]["n_b"]) == (2, 2)
    assert evaluation["trained_by"] == ["the fused kernel"]
    assert versions(pipeline.root) == [("lenet5", 1)]
    assert (results / "search/best.yaml").read_text().startswith("# python train.py experiment=searched\n")
    assert (results / "refit/best.yaml").read_text().startswith("# python train.py experiment=refitted\n")
    assert len((results / "search/trials.csv").read_text().splitlines()) == 3
    chosen = f"{evaluation['variants'][evaluation['choice']['variant']]['test_error']['mean']:.2f}"
    page = (results / "report.html").read_text()
    assert not re.search(r"(src|href)=[\"']?https?:", page)
    assert chosen in page
    assert chosen in (results / "report.md").read_text()
    assert "Data and pipelines are up to date." in pipeline.run("dvc repro").stdout


def test_dvc_compares_a_handful_of_figures(pipeline: Shell) -> None:
    found = json.loads(pipeline.run("dvc metrics show --json").stdout)[""]["data"]
    metrics = {path.removeprefix("results/metrics/"): file["data"] for path, file in found.items()}
    for variant, evaluated in read(pipeline, "evaluation.json")["variants"].items():
        for part in ("validation", "test"):
            ((name, shown),) = metrics.pop(f"{part}/{variant}.json").items()
            spread = evaluated[f"{part}_error"]
            assert name == ("val_error" if part == "validation" else "test_error")
            assert shown == pytest.approx({"mean": spread["mean"], "sd": spread["deviation"]}, abs=5e-4)
    export = read(pipeline, "export.json")
    size = {"parameters": export["parameters"], "onnx_kib": pytest.approx(export["onnx_bytes"] / 1024, abs=0.05)}
    best = read(pipeline, "search/summary.json")["best"]["val_error"]
    assert metrics == {"search.json": {"best_val_error": best}, "size.json": size}


def drawn(shown: str) -> dict[str, Any]:
    """Return the Vega-Lite spec of each plot that `dvc plots … --json` has, by its file."""
    plots = json.loads(shown)
    found = {name: plot for name, plot in plots.get("data", plots).items() if plot and plot[0]["type"] == "vega"}
    contents = {name: plot[0]["content"] for name, plot in found.items()}
    return {name: json.loads(spec) if isinstance(spec, str) else spec for name, spec in contents.items()}


def test_each_seed_is_a_line_of_its_own_and_one_plot_has_all_variants(pipeline: Shell) -> None:
    plots = drawn(pipeline.run("dvc plots show --json").stdout)
    whole = plots.pop("results/validation_curves.csv")
    assert set(plots) == {f"results/curves/{name}.csv" for name in VARIANTS}
    for name, plot in plots.items():
        fields = {channel: plot["encoding"][channel]["field"] for channel in ("x", "y", "color")}
        assert fields == {"x": "epoch", "y": "val_error", "color": "seed"}
        lines = [(row["seed"], row["epoch"]) for row in plot["data"]["values"]]
        assert len(lines) == len(set(lines)) == len((pipeline.root / name).read_text().splitlines()) - 1
        assert {seed for seed, _ in lines} == {"1", "2"}
    seeds, means = whole["layer"]
    assert whole["encoding"]["color"]["field"] == "variant"
    assert seeds["encoding"]["detail"]["field"] == "seed"
    assert means["encoding"]["y"]["aggregate"] == "mean"
    lines = [(row["variant"], row["seed"]) for row in whole["data"]["values"]]  # of one epoch
    assert sorted(lines) == [(variant, seed) for variant in sorted(VARIANTS) for seed in ("1", "2")]


def test_plots_of_two_revisions_tell_them_apart(pipeline: Shell) -> None:
    with edited(pipeline, {"results/validation_curves.csv": ("lenet5,1,1,", "lenet5,1,1,9")}):
        whole = drawn(pipeline.run("dvc plots diff --json").stdout)["results/validation_curves.csv"]
    assert whole["encoding"]["strokeDash"]["field"] == "rev"
    assert {row["rev"] for row in whole["data"]["values"]} == {"HEAD", "workspace"}


START = "from __future__ import annotations\n"
COMMENTED = {
    "conf/data/tiny.yaml": ("name: tiny\n", "name: tiny # a comment\n"),
    "conf/search/recipe.yaml": ("space:\n", "space: # a comment\n"),
    "conf/tracking/mlflow.yaml": ("experiment: null ", "experiment: elsewhere "),
    "src/lenet/evaluation/robustness.py": (START, f"{START}# a comment\n"),
    "src/lenet/training/fit.py": (START, f"{START}# a comment\n"),
}


def test_what_changes_no_result_runs_compose_alone(pipeline: Shell) -> None:
    with edited(pipeline, COMMENTED):
        assert re.findall("Running stage '(.+)'", pipeline.run("dvc repro").stdout) == ["compose"]
    pipeline.run("dvc repro")


@pytest.mark.parametrize(
    ("name", "change", "stale"),
    [
        ("conf/search/recipe.yaml", ("high: 2.0e-2", "high: 3.0e-2"), {"search"}),
        (
            "src/lenet/training/optimizers.py",
            (START, f"{START}ADDED = 1\n"),
            {"train@lenet5", "train@lenet5_relu", "search", "refit"},
        ),
    ],
)
def test_what_changes_a_result_makes_its_stages_stale(
    pipeline: Shell, name: str, change: tuple[str, str], stale: set[str]
) -> None:
    with edited(pipeline, {name: change}):
        pipeline.run("dvc repro compose")
        found = json.loads(pipeline.run("dvc status --json").stdout)
    pipeline.run("dvc repro compose")
    assert set(found) == stale


def test_one_variants_knob_trains_that_variant_alone_and_goes_back_from_the_cache(pipeline: Shell) -> None:
    with edited(pipeline, {"conf/experiment/lenet5_relu.yaml": ("learning_rate: 0.006", "learning_rate: 0.005")}):
        done = pipeline.run("dvc repro train@lenet5_relu train@lenet5")
        changed = pipeline.run("dvc params diff").stdout
    back = pipeline.run("dvc repro")
    assert re.findall("Running stage '(.+)'", done.stdout) == ["compose", "train@lenet5_relu"]
    assert re.search(r"build/conf/lenet5_relu\.yaml\s+optimizer\.learning_rate\s+0\.006\s+0\.005", changed)
    assert re.findall("Running stage '(.+)'", back.stdout) == ["compose"]
    assert versions(pipeline.root) == [("lenet5", 1)]


def test_a_lost_database_is_filled_again_and_registering_again_makes_no_version(pipeline: Shell) -> None:
    for path in pipeline.root.glob("mlflow.db*"):
        path.unlink()
    assert f"{len(pipeline.run_folders())} brought up to date" in pipeline.run("lenet sync").stderr
    assert "registered already" in pipeline.run("lenet register").stderr
    assert versions(pipeline.root) == [("lenet5", 1)]


@pytest.mark.long
def test_an_experiment_in_a_temporary_folder_shares_runs_and_store_and_leaves_the_registry(pipeline: Shell) -> None:
    before, runs = versions(pipeline.root), set(pipeline.run_folders())
    change = "-S conf/optimizer/adam.yaml:beta1=0.8 -S search.trials=1"
    done = pipeline.run(f"dvc exp run --temp --name twice {change} register")
    assert "a DVC experiment does not change the registry" in done.stdout + done.stderr
    assert "twice" in pipeline.run("dvc exp show --csv").stdout
    made = {path.name for path in set(pipeline.run_folders()) - runs}
    shown = query(pipeline.root, "select value from tags where key = 'lenet.fingerprint'")
    assert len(made) >= 4  # two variants with two seeds, and a trial with its refits
    assert made <= {fingerprint for (fingerprint,) in shown}
    assert versions(pipeline.root) == before
    assert "beta1: 0.9" in (pipeline.root / "conf/optimizer/adam.yaml").read_text()


def test_what_a_variant_names_must_be_there(pipeline: Shell) -> None:
    with edited(pipeline, {"params.yaml": ("- lenet5_relu\n", "- lenet5_rlu\n")}):
        done = pipeline.run("lenet compose", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: params.yaml: variants names lenet5_rlu:")
    assert len(done.stderr.splitlines()) == 1


OTHER_MACHINE = {
    "LENET_KERNEL_LEVEL": "avx2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
"""A processor without AVX-512, as far as libraries can be told; the test narrows it to one core besides."""


@pytest.mark.long
@pytest.mark.skipif("avx512" not in {one.name for one in suitable_levels()}, reason="this processor has no AVX-512")
def test_a_fresh_clone_on_another_machine_leaves_the_committed_results_as_they_are(
    pipeline: Shell, tmp_path: Path
) -> None:
    clone = tmp_path / "clone"
    pipeline.run(f"git clone -q . {clone}")
    for compiled in pipeline.root.glob("src/lenet/kernels/lenet5-*"):
        shutil.copy2(compiled, clone / compiled.relative_to(pipeline.root))
    there = Shell(clone, clone, OTHER_MACHINE)
    there.run("taskset --cpu-list 0 dvc repro")
    assert there.run("git status --porcelain").stdout == ""
    levels = {
        name: set(query(root, "select distinct value from tags where key = 'lenet.kernel'"))
        for name, root in (("here", pipeline.root), ("there", clone))
    }
    assert levels == {"here": {("fused (avx512)",)}, "there": {("fused (avx2)",)}}
