"""What a run directory is in MLflow's terms; no store is opened."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tracked import Lab

from lenet.config.schema import Config
from lenet.core.file_lock import locked
from lenet.runs.run_dir import RunDir
from lenet.tracking.entities import TESTED_ON, TRAINED_ON, TrackedRun, measured

MakeConfig = Callable[..., Config]


@pytest.fixture
def run(lab: Lab, make_config: MakeConfig) -> RunDir:
    return lab.train(make_config())


def evaluate(run: RunDir) -> None:
    body = {"test_digest": "d" * 64, "measures": {"test/error": 2.5}, "interval": [1.0, 4.0], "evaluated": 1.7e9}
    run.write("evaluation.json", body)


def test_a_run_of_two_attempts_has_the_first_ones_start_and_the_last_ones_end(run: RunDir) -> None:
    status = run.status()
    first = status["attempts"][0] | {"started": 1000.0, "ended": 1001.0, "host": "one"}
    last = status["attempts"][0] | {"started": 2000.0, "ended": 2001.5, "host": "two"}
    run.write("status.json", status | {"attempts": [first, last]})
    content = TrackedRun(run).content()
    assert (content.start_time, content.end_time) == (1_000_000, 2_001_500)
    assert (content.tags["lenet.host"], content.tags["lenet.attempts"]) == ("two", "2")


def test_mlflow_calls_a_pruned_run_killed(run: RunDir) -> None:
    run.write("status.json", run.status() | {"state": "PRUNED"})
    content = TrackedRun(run).content()
    assert (content.status, content.tags["lenet.state"], content.tags["lenet.pruned"]) == ("KILLED", "PRUNED", "true")


def test_a_run_in_training_has_no_artifacts_and_no_end(run: RunDir) -> None:
    assert set(TrackedRun(run).content().artifacts) == {"config.yaml", "weights.safetensors"}
    run.write("status.json", run.status() | {"state": "RUNNING"})
    with locked(run.lock):
        content = TrackedRun(run).content()
    assert (content.status, content.end_time, dict(content.artifacts)) == ("RUNNING", None, {})


def test_the_evaluation_is_renewed_at_the_last_epoch_on_its_own_data(lab: Lab, run: RunDir) -> None:
    assert TrackedRun(run).content().renewed == frozenset()
    evaluate(run)
    content = TrackedRun(run).content()
    assert content.renewed == {"test/error"}
    (point,) = [one for one in content.points if one.name == "test/error"]
    assert (point.step, point.value, point.timestamp) == (2, 2.5, 1_700_000_000_000)
    assert {one.context: one.digest for one in content.datasets} == {TRAINED_ON: lab.digest[:36], TESTED_ON: "d" * 36}


def test_a_trained_networks_measures_are_those_of_its_last_epoch(run: RunDir) -> None:
    evaluate(run)
    last = run.history()[-1]
    found = {point.name: (point.step, point.value, data.context) for point, data in measured(run)}
    assert found == {
        "val/error": (2, last["val/error"], TRAINED_ON),
        "val/loss": (2, last["val/loss"], TRAINED_ON),
        "test/error": (2, 2.5, TESTED_ON),
    }
