"""Which runs stand behind a figure of the report, by the starts of their fingerprints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lenet.pipeline.evaluate import TrainedVariant
from lenet.report.document import Table
from lenet.runs.run_dir import SHORT


def validation_errors(trained: TrainedVariant) -> dict[str, dict[int, float]]:
    """Return each variant's validation errors in percent, by seed."""
    return {
        variant: {run["seed"]: run["measures"]["val/error"] for run in runs if "val/error" in run["measures"]}
        for variant, runs in trained.items()
    }


def all_runs(evaluation: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the starts of the fingerprints of each variant's runs."""
    variants = evaluation["variants"].items()
    return {name: [run["fingerprint"][:SHORT] for run in found["runs"]] for name, found in variants}


def chosen_run(evaluation: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the run of the chosen network, labelled with its variant and seed."""
    choice = evaluation["choice"]
    runs = evaluation["variants"][choice["variant"]]["runs"]
    own = next(run for run in runs if run["seed"] == choice["seed"])
    return {f"{choice['variant']} seed {choice['seed']}": [own["fingerprint"][:SHORT]]}


def runs_table(evaluation: Mapping[str, Any], trained: TrainedVariant) -> Table:
    """Return all runs that were evaluated, with their errors."""
    rows = []
    for variant, found in evaluation["variants"].items():
        own = {run["seed"]: run for run in trained[variant]}
        for run in found["runs"]:
            validation, epochs = own[run["seed"]]["measures"]["val/error"], own[run["seed"]]["epochs"]
            row = (run["fingerprint"][:SHORT], variant, run["seed"], epochs, f"{validation:.2f}", f"{run['error']:.2f}")
            rows.append(tuple(str(cell) for cell in row))
    header = ("run", "variant", "seed", "epochs", "validation error %", "test error %")
    return Table(header, rows, lists_runs=True)
