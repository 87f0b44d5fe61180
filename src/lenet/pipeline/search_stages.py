"""The DVC stages `search` and `refit`: run them and write their outs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lenet.config.params import Params
from lenet.core.atomic_io import read_json, write_json, write_text
from lenet.core.paths import REFIT, REFIT_RECIPE, REFITTED, SEARCH_METRICS
from lenet.core.project import Project
from lenet.core.rounding import rounded
from lenet.pipeline.dvc_metrics import write_metrics
from lenet.pipeline.outs import PIPELINE, write_variant
from lenet.search.refit import refit
from lenet.search.results import SUMMARY, experiment_yaml
from lenet.search.runner import run_search
from lenet.search.spec import read_spec


def search_words(params: Params) -> list[str]:
    """Return the overrides of the pipeline's search in params.yaml; its `overrides` hold for every trial."""
    words = [f"search={params.search.name}", f"data={params.data}"]
    words += [f"search.trials={params.search.trials}", f"search.workers={params.search.workers}"]
    for override in params.overrides:
        key, equals, value = override.partition("=")
        words.append(f"search.epochs={value}" if key.lstrip("+") == "trainer.epochs" and equals else override)
    return words


def search_stage(project: Project, params: Params, words: Sequence[str], into: Path | None) -> None:
    """Run the pipeline's search, and write the best validation error in percent as a metric for DVC.

    Args:
        project: the project.
        params: params.yaml.
        words: further overrides.
        into: the folder that the results are copied to.
    """
    words = [*search_words(params), *words]
    run_search(read_spec(project, words), words, into=into)
    if into is not None:
        best = read_json(into / SUMMARY)["best"]
        write_metrics(project.root / SEARCH_METRICS, {"best_val_error": best["val_error"]})


def refit_stage(project: Project, params: Params) -> None:
    """Run the refit; write the chosen recipe's weights, curves and metrics, results/refit.json and the experiment."""
    result = refit(project, params, PIPELINE)
    write_variant(project, REFITTED, result.confirmed.runs)
    source = f"`lenet refit`: trial {result.report['chosen']}"
    write_text(project.root / REFIT_RECIPE, experiment_yaml(result.confirmed.runs[0][0], REFITTED, source))
    write_json(project.root / REFIT, rounded(result.report))
