"""The outs of a stage that trained: what the pipeline keeps of a variant's runs.

Apart from the other stages, whose code cannot change what a training leaves (`stage_inputs`).
"""

from __future__ import annotations

import csv
import io
from typing import Any

from lenet.config.schema import Config
from lenet.core.atomic_io import remove, sha256_file, write_bytes, write_json, write_text
from lenet.core.paths import BUILT_TRAIN, CURVES, VALIDATION_METRICS
from lenet.core.project import Project
from lenet.evaluation.metrics import spread
from lenet.pipeline.dvc_metrics import over_seeds, write_metrics
from lenet.runs.run_dir import RunDir

PIPELINE = "pipeline"
"""The tag lenet.sweep of the pipeline's runs."""

WALL_CLOCK = ("seconds", "images_per_second")
"""Columns of a history that differ from one training to the next; the outs leave them out."""


def write_variant(project: Project, variant: str, runs: list[tuple[Config, RunDir]]) -> None:
    """Write what the pipeline keeps of a variant's runs: weights, curves and the figures that DVC compares."""
    _write_weights(project, variant, runs)
    write_text(project.root / CURVES / f"{variant}.csv", _curves(runs))
    headlines = [folder.headline() for _, folder in runs]
    measured = [headline["val/error"] for headline in headlines if "val/error" in headline]
    found = {"val_error": over_seeds(spread(measured))} if measured else {}
    write_metrics(project.root / VALIDATION_METRICS / f"{variant}.json", found)


def _write_weights(project: Project, variant: str, runs: list[tuple[Config, RunDir]]) -> None:
    out = project.root / BUILT_TRAIN / variant
    remove(out, project.root)
    entries = []
    for config, folder in runs:
        path = out / f"seed-{config.seed}" / "weights.safetensors"
        write_bytes(path, (folder.path / "weights.safetensors").read_bytes())
        entry: dict[str, Any] = {
            "seed": config.seed,
            "fingerprint": folder.fingerprint,
            "data_digest": folder.identity()["data_digest"],
            "weights_sha256": sha256_file(path),
            "epochs": len(folder.history()),
            "trained_by": folder.trained_by(),
            "measures": folder.headline(),
            "config": config.tree(),
        }
        entries.append(entry)
    write_json(out / "runs.json", {"variant": variant, "runs": entries})


def _curves(runs: list[tuple[Config, RunDir]]) -> str:
    """Return the histories as CSV: slashes become underscores, for DVC's plots know them as paths."""
    rows = [{"seed": config.seed} | row for config, folder in runs for row in folder.history()]
    names = [name for name in rows[0] if name not in WALL_CLOCK]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name.replace("/", "_") for name in names])
    for row in rows:
        writer.writerow([f"{row[name]:.6g}" for name in names])
    return text.getvalue()
