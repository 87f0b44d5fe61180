"""`lenet ui` on a home with runs that cannot be shown: it says which, and shows the others to this machine alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import pytest
import requests
from postgresql import free_port
from shell import ROOT, Shell

from lenet.config.schema import Config
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.runs.get_or_train import RunMetadata, get_or_train

START_SECONDS = 200


@pytest.mark.long
def test_it_starts_though_a_run_cannot_be_shown(project: Project, make_config: Callable[..., Config]) -> None:
    shutil.copyfile(ROOT / "train.py", project.root / "train.py")
    digest = training_digest(project.prepared("tiny"))
    good, bad = (
        get_or_train(project, make_config(seed=seed, tracking__uri=uri), digest, RunMetadata("tiny")).run_dir
        for seed, uri in ((1, None), (2, "http://127.0.0.1:9"))
    )
    port = free_port()
    shell = Shell(project.root, project.home, {"PYTHONPATH": str(ROOT / "src"), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
    synchronized = shell.run("lenet sync", check=False)
    assert synchronized.returncode == 1
    assert f"not shown: {bad.short}: MLflow at http://127.0.0.1:9: does not answer" in synchronized.stderr
    assert "Traceback" not in synchronized.stderr
    process = shell.start(f"lenet ui --port {port}")
    address, find = f"http://127.0.0.1:{port}", "/ajax-api/2.0/mlflow/experiments/search"
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                assert requests.get(f"{address}/health", timeout=5).ok
                break
            except requests.ConnectionError:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.3)
        found = requests.post(f"{address}{find}", json={"max_results": 10}, timeout=30).json()["experiments"]
        number = next(one["experiment_id"] for one in found if one["name"] == "lenet5")
        asked = {"experiment_ids": [number]}
        runs = requests.post(f"{address}/ajax-api/2.0/mlflow/runs/search", json=asked, timeout=30).json()["runs"]
        shown = [tag["value"] for run in runs for tag in run["data"]["tags"] if tag["key"] == "lenet.fingerprint"]
        assert shown == [good.fingerprint]
        for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}):
            assert requests.post(f"{address}{find}", json={}, headers=headers, timeout=30).status_code == 403
    finally:
        process.terminate()
        process.communicate()
