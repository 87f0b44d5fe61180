"""Write the report: results/report.md from its template, results/report.html from that Markdown.

What the stages measured comes as it lies in results/; here it is joined and sorted, and the template says it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lenet.config.params import Params
from lenet.core.atomic_io import read_json, write_text
from lenet.core.paths import (
    EVALUATION,
    EXPORT,
    MODEL_CARD,
    QUALITY,
    REFIT,
    REGISTRATION,
    REPORT_HTML,
    REPORT_MARKDOWN,
    SEARCH,
)
from lenet.core.project import Project
from lenet.evaluation.metrics import SIGNIFICANT
from lenet.evaluation.stats.welch import CLAIM_SEEDS
from lenet.evaluation.trained_model import read_variant
from lenet.report.facts import Trained, comparison_facts, distortion_rows, validation_errors
from lenet.report.render import render, to_page

Tree = Mapping[str, Any]

SEARCH_PLOTS = {
    "history.png": "Each trial's validation error, and the best so far",
    "importance.png": "Importance of each field for the best trials",
    "parallel.png": "Every complete trial across the fields",
    "learning.png": "Each trial's validation error by epoch",
}


def write_report(project: Project, params: Params) -> None:
    """Write results/report.md and results/report.html.

    Raises:
        DamagedError: what a stage left is missing or damaged.
    """
    home = (project.root / REPORT_MARKDOWN).parent
    text = render("report.md.j2", report_facts(project, params))
    page = to_page(text, home)
    write_text(project.root / REPORT_MARKDOWN, text)
    write_text(project.root / REPORT_HTML, page)


def report_facts(project: Project, params: Params) -> dict[str, Any]:
    """Return all that report.md.j2 says, by the names it has there."""
    root = project.root
    evaluation, quality = read_json(root / EVALUATION), read_json(root / QUALITY)
    trained = {variant: read_variant(project, variant) for variant in params.evaluated_variants}
    search, refit = read_json(root / SEARCH / "summary.json"), read_json(root / REFIT)
    networks = next(iter(quality["networks"].values()))
    return {
        **comparison_facts(evaluation, quality, validation_errors(trained)),
        **search_facts(search, refit),
        "model": params.register.model,
        "quality": quality,
        "pairs": ranked_pairs(quality),
        "trained_by": evaluation["trained_by"],
        "distortions": distortion_rows(quality["networks"]),
        "robustness_images": networks[0]["robustness"][0]["images"],
        "misclassified_plot": "plots/misclassified.png",
        "chosen": evaluation["choice"]["variant"],
        "variant_runs": {
            name: [run["fingerprint"] for run in found["runs"]] for name, found in evaluation["variants"].items()
        },
        "chosen_run": _chosen_run(evaluation),
        "run_rows": run_rows(evaluation, trained),
        "export": read_json(root / EXPORT) if (root / EXPORT).is_file() else None,
        "search_plots": [item for item in SEARCH_PLOTS.items() if (root / SEARCH / "plots" / item[0]).is_file()],
        "trials_file": f"{SEARCH}/trials.csv",
        "registration": read_json(root / REGISTRATION),
        "model_card": MODEL_CARD,
    }


def ranked_pairs(quality: Tree) -> list[dict[str, Any]]:
    """Return the comparisons of results/quality.json, smallest p first, with the better one where that is shown."""
    found = []
    for pair in sorted(quality["pairs"], key=lambda one: (one["holm_p"], one["p"])):
        is_shown = pair["holm_p"] < SIGNIFICANT and min(pair["seeds"]) >= CLAIM_SEEDS
        found.append({**pair, "better": (pair["a"] if pair["difference"] < 0 else pair["b"]) if is_shown else None})
    return found


def _chosen_run(evaluation: Tree) -> dict[str, list[str]]:
    choice = evaluation["choice"]
    runs = evaluation["variants"][choice["variant"]]["runs"]
    return {
        f"{choice['variant']} seed {choice['seed']}": [
            run["fingerprint"] for run in runs if run["seed"] == choice["seed"]
        ]
    }


def run_rows(evaluation: Tree, trained: Trained) -> list[dict[str, Any]]:
    """Return all runs that were evaluated, with their errors in percent."""
    rows = []
    for variant, found in evaluation["variants"].items():
        own = {model.seed: model for model in trained[variant]}
        for run in found["runs"]:
            model = own[run["seed"]]
            errors = {"validation_error": model.metrics["val/error"], "test_error": run["error"]}
            names = {"fingerprint": run["fingerprint"], "variant": variant, "seed": run["seed"]}
            rows.append(names | {"epochs": model.epochs} | errors)
    return rows


def search_facts(search: Tree, refit: Tree) -> dict[str, Any]:
    """Return what the report says of search and refit; recipes are ordered by mean, those that failed come last.

    Args:
        search: results/search/summary.json.
        refit: results/refit.json.
    """
    chosen, base, curse = refit["chosen"], refit["baseline"], refit["winners_curse"]
    confirmed = f"trial {chosen}, further seeds"
    rows = [
        {"name": _recipe_name(one), "search_error": one["search_error"], "error": one["validation_error"]}
        for one in sorted(refit["candidates"], key=_mean_error)
    ]
    rows.append({"name": confirmed, "search_error": None, "error": refit["confirmed"]["validation_error"]})
    rows.append({"name": f"{base['variant']}, the same seeds", "search_error": None, "error": base["validation_error"]})
    runs = {f"trial {one['trial']}": list(one["runs"].values()) for one in refit["candidates"]}
    runs[confirmed] = list(refit["confirmed"]["runs"].values())
    runs[base["variant"]] = list(base["runs"].values())
    runs[f"new seeds of trial {curse['trial']}"] = list(curse["runs"].values())
    runs["the search's best"] = [search["best"]["run"]]
    unpruned = search["epochs_unpruned"]
    return {
        "search": search,
        "refit": refit,
        "refitted": rows,
        "refit_seeds": max(len(one["runs"]) + len(one["failed"]) for one in refit["candidates"]),
        "epochs_saved": 100 * (1 - search["epochs"] / unpruned) if unpruned else 0.0,
        "search_runs": runs,
    }


def _recipe_name(candidate: Tree) -> str:
    failed = candidate["failed"]
    return f"trial {candidate['trial']}" + (f" (failed with seed {', '.join(map(str, failed))})" if failed else "")


def _mean_error(candidate: Tree) -> float:
    found = candidate["validation_error"]
    return float(found["mean"]) if found and not candidate["failed"] else math.inf
