"""A weak champion, version 1; a much better challenger, version 2; and one that is no better than that, 3.

    python tests/e2e/gallery.py ROOT      # a project with its data prepared, that is its own home

They are made by the commands a user types, but in one process: each of its own would import for seconds.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from lenet.cli import main
from lenet.core.atomic_io import read_json, write_json
from lenet.evaluation.metrics import spread

WEAK = ["trainer.epochs=1", "data.train_size=1000", "trainer=cpu"]
STRONG = ["trainer.epochs=1", "data.train_size=12000", "trainer=cpu"]


def lenet(command: str) -> str:
    """Return the output of a command."""
    output = io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(output):
            main(command.split())
    except SystemExit as end:
        raise AssertionError(f"lenet {command}: exit code {end.code}\n{output.getvalue()}") from end
    return output.getvalue()


def train(root: Path, overrides: list[str], seeds: list[int]) -> None:
    """Train `lenet5` with these seeds."""
    path = root / "params.yaml"
    tree = yaml.safe_load(path.read_text())
    tree |= {"variants": ["lenet5"], "seeds": seeds, "overrides": overrides}
    tree["refit"]["baseline"] = "lenet5"
    tree["gate"] |= {"floor_error_percent": 60.0}
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    lenet("compose")
    lenet("train lenet5")


def choose(root: Path, seed: int) -> None:
    """Leave what the evaluation stage would, had it chosen this seed; its own tests are elsewhere."""
    runs = read_json(root / "build/train/lenet5/runs.json")["runs"]
    errors = [run["measures"]["val/error"] for run in runs]
    found = asdict(spread(errors))
    rows = [
        {"seed": run["seed"], "fingerprint": run["fingerprint"], "error": error, "misclassified": round(100 * error)}
        | {"interval": [0.0, 100.0], "loss": run["measures"]["val/loss"]}
        for run, error in zip(runs, errors, strict=True)
    ]
    variant = {"test_error": found, "test_loss": found, "validation_error": found, "interval": [0.0, 100.0]}
    digest = json.loads((root / "data/prepared/mnist/card.json").read_text())["test_digest"]
    body: dict[str, Any] = {"choice": {"variant": "lenet5", "seed": seed}, "images": 10000, "confidence": 0.95}
    body["variants"] = {"lenet5": variant | {"runs": rows}}
    write_json(root / "results/evaluation.json", body | {"data": "mnist", "test_digest": digest})


def fingerprint(root: Path, seed: int) -> str:
    """The run of a seed."""
    runs = read_json(root / "build/train/lenet5/runs.json")["runs"]
    return next(str(run["fingerprint"]) for run in runs if run["seed"] == seed)


def build(root: Path) -> None:
    """Register the three."""
    shutil.rmtree(root / "results")  # of another pipeline
    train(root, WEAK, [1])
    choose(root, 1)
    said = lenet("register")
    assert "promoted: version 1 is the champion" in said, said
    train(root, STRONG, [1, 2])
    # which of two equals errs less is chance: the one that errs more comes last
    page = lenet(f"compare {fingerprint(root, 1)[:12]} {fingerprint(root, 2)[:12]}")
    better = 2 if page.startswith("B ") else 1
    for told, seed in (("2 (challenger): registered", better), ("3 (challenger): registered", 3 - better)):
        choose(root, seed)
        said = lenet("register")
        assert f"lenet5 version {told}" in said, said
    choose(root, better)
    said = lenet("register")
    assert "lenet5 version 2 (challenger): registered already" in said, said


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    build(Path(sys.argv[1]))
