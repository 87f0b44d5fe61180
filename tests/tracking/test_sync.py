from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tracked import Lab, expected_points

from lenet.config.schema import Config
from lenet.core.file_lock import locked
from lenet.runs.run_dir import run_dir_for
from lenet.tracking.run_sync import is_up_to_date
from lenet.tracking.sync import find_unsynced, synchronize

MakeConfig = Callable[..., Config]


def unsynced(lab: Lab) -> list[str]:
    return [one.tracked.name for one in find_unsynced(lab.project)[0]]


def shown_fingerprints(lab: Lab) -> set[str]:
    return {run.data.tags["lenet.fingerprint"] for run in lab.runs()}


def test_lost_database_is_filled_again(lab: Lab, make_config: MakeConfig, said: list[str]) -> None:
    runs = [lab.train(make_config(seed=seed)) for seed in (1, 2)]
    # By another process, so that this one has no connection to the file that is about to go.
    subprocess.run([sys.executable, "-m", "lenet", "sync"], cwd=lab.project.root, check=True, capture_output=True)
    assert unsynced(lab) == []
    for path in lab.project.home.glob("mlflow.db*"):
        path.unlink()
    assert unsynced(lab) == [run.short for run in runs]
    assert synchronize(lab.project)
    assert shown_fingerprints(lab) == {run.fingerprint for run in runs}
    assert all(lab.points(run.info.run_id) == expected_points(2) for run in lab.runs())
    assert synchronize(lab.project)
    assert [line.partition(" shows ")[2] for line in said if " shows " in line] == [
        "2 runs (2 brought up to date)",
        "2 runs (0 brought up to date)",
    ]


def test_run_in_training_is_left_to_its_process(lab: Lab, make_config: MakeConfig) -> None:
    run = lab.train(make_config())
    with locked(run.lock):
        assert unsynced(lab) == []
    assert unsynced(lab) == [run.short]


def test_killed_run_is_closed(lab: Lab, make_config: MakeConfig, said: list[str]) -> None:
    run = lab.train(make_config())
    status = run.status()
    status["attempts"][0]["ended"] = None
    for name in ("weights.safetensors", "validation.npz"):
        (run.path / name).unlink()
    run.write("status.json", status | {"state": "RUNNING", "files": {}})  # as kill -9 leaves it
    assert synchronize(lab.project)
    (shown,) = lab.runs()
    assert shown.info.status == "KILLED"
    assert any(line.startswith(f"{run.short}: killed after epoch 2") for line in said)


@pytest.mark.parametrize(
    ("tracking", "reason"),
    [
        ({"uri": "http://127.0.0.1:9"}, "MLflow at http://127.0.0.1:9: does not answer"),
        ({"uri": "./mlruns"}, "./mlruns: must be an MLflow server"),
        ({"experiment": "x" * 600}, "MLflow at sqlite:////"),
        (None, "run.json"),
    ],
)
def test_runs_that_cannot_be_shown_are_named_in_one_line_and_the_others_shown(
    lab: Lab, make_config: MakeConfig, said: list[str], tracking: dict[str, str] | None, reason: str
) -> None:
    good, bad, worse = (lab.train(make_config(seed=seed)) for seed in (1, 2, 3))
    for run in (bad, worse) if tracking is not None else (bad,):
        body = run.identity()
        if tracking is None:
            (run.path / "run.json").write_text("{")
        else:
            run.write("run.json", body | {"tracking": body["tracking"] | tracking})
    assert synchronize(lab.project) is False
    assert good.fingerprint in shown_fingerprints(lab)
    assert bad.fingerprint not in shown_fingerprints(lab)
    (line,) = (line for line in said if line.startswith("not shown: "))
    assert bad.short in line
    assert (worse.short in line) == (tracking is not None)
    assert reason in line
    assert "\n" not in line
    assert len(line) < 500


def test_store_is_the_one_of_the_last_request(lab: Lab, make_config: MakeConfig) -> None:
    run = lab.train(make_config(tracking__uri="http://127.0.0.1:9"))
    assert [one.uri for one in find_unsynced(lab.project)[0]] == ["http://127.0.0.1:9"]
    lab.train(make_config())
    assert synchronize(lab.project)
    assert shown_fingerprints(lab) == {run.fingerprint}


def test_run_that_never_started_does_not_stop_the_others(lab: Lab, make_config: MakeConfig) -> None:
    started, other = lab.train(make_config(seed=1)), make_config(seed=2)
    empty = run_dir_for(lab.project, other, lab.digest)
    empty.path.mkdir()
    empty.write_identity(started.identity() | {"config": other.tree()})
    synchronize(lab.project)
    assert started.fingerprint in shown_fingerprints(lab)


def test_server_is_sent_what_is_new_since_the_last_time(
    lab: Lab, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from rude_mlflow import ACCOUNT, mlflow_with_account

    with mlflow_with_account(tmp_path) as plain:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", plain.replace("://", f"://{':'.join(ACCOUNT)}@"))
        uri = plain.replace("://", f"://{ACCOUNT[0]}@")
        run = lab.train(make_config())
        assert synchronize(lab.project)
        assert is_up_to_date(run, uri)
        body = {"test_digest": "d", "measures": {"test/error": 1.5}, "interval": [1, 2], "evaluated": 1.7e9}
        run.write("evaluation.json", body)
        assert not is_up_to_date(run, uri)
        assert synchronize(lab.project)
        here = Lab(lab.project)
        (shown,) = here.runs()
        assert shown.data.metrics["test/error"] == 1.5
        assert here.points(shown.info.run_id)["val/error", 1] == 1
