from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from lenet.core.errors import LenetError
from lenet.search.objective import Objective
from lenet.search.runner import run_search
from lenet.search.spec import SearchSpec
from lenet.search.storage import LEADER_LOCK
from lenet.search.study import SearchStudy
from lenet.search.workers import run_trials

ReadTiny = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]


def test_a_search_that_another_command_leads_is_refused(read_tiny: ReadTiny, open_study: Open) -> None:
    spec = read_tiny()
    study = open_study(spec)
    with ExitStack() as stack:
        assert study.storage.try_lock(study.name, LEADER_LOCK, stack)
        with pytest.raises(LenetError, match=f"^{study.name}: .*--join"):
            run_search(spec, ["search=tiny"])


def test_a_search_whose_budget_is_spent_writes_its_results(
    read_tiny: ReadTiny, open_study: Open, digest: str, empty_store: Path, said: list[str], tmp_path: Path
) -> None:
    spec = read_tiny("search.trials=2", "search.epochs=1")
    shutil.copyfile(empty_store, spec.project.home / "mlflow.db")
    with ExitStack() as stack:
        study = open_study(spec)
        worker = study.register_worker(stack)
        run_trials(study, Objective(study, digest), worker)
    records = run_search(spec, ["search=tiny"], into=tmp_path / "results")
    assert [one.state for one in records] == ["COMPLETE"] * 2
    best = min(records, key=lambda one: one.error)
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert (summary["best"]["trial"], summary["is_over"]) == (best.number, True)
    recipe = yaml.safe_load((tmp_path / "results" / "best.yaml").read_text())
    assert recipe["optimizer"]["learning_rate"] == best.assignment["optimizer.learning_rate"]
    assert (tmp_path / "results" / "plots" / "history.png").is_file()
    assert (tmp_path / "results.html").is_file()
    assert any(line.endswith(" ".join(spec.train_overrides(best.assignment))) for line in said)
    assert run_search(spec, ["search=tiny"]) == records
