"""`kill -9` at every point of a run and of a search that are shown in MLflow; see mlflow_kills.py for how."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lenet.core.project import Project
from tiny_search import TINY

SAMPLE = 6
"""Points in `make test`, spread over the whole command; the first, the last and some between."""

MIN_POINTS = {"run": 100, "search": 100}

PATIENCE_SECONDS = 1800
"""Of the long test: each point is a command, and the next one after it; some five minutes for a kind."""

TINY_SEARCH = TINY | {
    "base": ["experiment=lenet5", "data=tiny", "trainer.batch_size=50", "trainer.threads=1"],
    "epochs": 1,
    "trials": 2,
}


def kill(kind: str, count: str, project: Project, empty_store: Path) -> dict[str, Any]:
    (project.conf / "search" / "tiny.yaml").write_text(yaml.safe_dump(TINY_SEARCH, sort_keys=False))
    shutil.copyfile(empty_store, project.home / "mlflow.db")
    script = Path(__file__).parents[1] / "mlflow_kills.py"
    done = subprocess.run(
        [sys.executable, str(script), kind, count, str(project.root)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # a child that was forked has none of its parent's threads
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_right(found: dict[str, Any], kind: str) -> None:
    assert found["points"] >= MIN_POINTS[kind]
    wrong = [one for one in found["kills"] if one["after"] or one["again"]]
    assert wrong == []
    assert sum(bool(one["where"]) for one in found["kills"]) > len(found["kills"]) / 2


def test_a_run_killed_somewhere_is_shown_as_its_folder_is(project: Project, empty_store: Path) -> None:
    assert_right(kill("run", str(SAMPLE), project, empty_store), "run")


@pytest.mark.long
@pytest.mark.timeout(PATIENCE_SECONDS)
@pytest.mark.parametrize("kind", ["run", "search"])
def test_killed_anywhere_mlflow_holds_what_the_folders_hold(kind: str, project: Project, empty_store: Path) -> None:
    assert_right(kill(kind, "all", project, empty_store), kind)
