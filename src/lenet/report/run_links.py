"""Which runs stand behind a figure of the report, by the starts of their fingerprints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lenet.evaluation.trained_model import TrainedModel
from lenet.report.document import Table
from lenet.runs.run_dir import SHORT

Trained = Mapping[str, Sequence[TrainedModel]]
"""Each variant's networks, one a seed."""


def validation_errors(trained: Trained) -> dict[str, dict[int, float]]:
    """Return each variant's validation errors in percent, by seed."""
    return {
        variant: {model.seed: model.metrics["val/error"] for model in models if "val/error" in model.metrics}
        for variant, models in trained.items()
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


def runs_table(evaluation: Mapping[str, Any], trained: Trained) -> Table:
    """Return all runs that were evaluated, with their errors."""
    rows = []
    for variant, found in evaluation["variants"].items():
        own = {model.seed: model for model in trained[variant]}
        for run in found["runs"]:
            validation, epochs = own[run["seed"]].metrics["val/error"], own[run["seed"]].epochs
            row = (run["fingerprint"][:SHORT], variant, run["seed"], epochs, f"{validation:.2f}", f"{run['error']:.2f}")
            rows.append(tuple(str(cell) for cell in row))
    header = ("run", "variant", "seed", "epochs", "validation error %", "test error %")
    return Table(header, rows, lists_runs=True)
