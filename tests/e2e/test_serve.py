"""The champion served as a user serves it, and asked over HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml
from numpy.typing import NDArray
from shell import Shell, copy_project

from lenet.data.prepared import load_test
from lenet.durable import read_json
from lenet.evaluation.predict import load_reader, predict_digits
from lenet.runs import RunFolder

pytestmark = pytest.mark.long
UP_SECONDS = 120
ANSWER_SECONDS = 20
POLL_SECONDS = 0.1
SMALL = {"variants": ["lenet5"], "seeds": [1], "overrides": ["trainer.epochs=1", "data.train_size=3000"]}


@pytest.fixture(scope="module")
def registered(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A copy of the project whose only variant was trained a little, exported, registered and made champion."""
    root = copy_project(tmp_path_factory.mktemp("served") / "lenet-lab")
    shutil.copytree(project_root / "data", root / "data", dirs_exist_ok=True)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["refit"]["baseline"] = "lenet5"
    params["gate"]["floor_error_percent"] = 99
    (root / "params.yaml").write_text(yaml.safe_dump(params | SMALL))
    shell = Shell(root, root)
    shell.run("lenet compose && lenet train lenet5")
    # What the search would have found: the same network once more, so that no search is needed here.
    shell.run(
        "cp -r build/train/lenet5 build/train/refitted && cp results/curves/lenet5.csv results/curves/refitted.csv"
    )
    shell.run("lenet evaluate && lenet export && lenet register")
    return shell


def test_the_export_reads_all_test_digits_as_torch_does(registered: Shell) -> None:
    body = read_json(registered.root / "results/export.json")
    assert body["agreement"]["images"] == body["agreement"]["same_answers"] == 10_000
    assert body["agreement"]["largest_difference"] <= 1e-4


@pytest.fixture(scope="module")
def address(registered: Shell) -> Iterator[str]:
    """Where the champion is served, on this machine alone."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/lenet5@champion"]
    words += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    log = registered.root / "serve.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            words,
            cwd=registered.root,
            env=registered.variables() | {"MLFLOW_TRACKING_URI": f"sqlite:///{registered.root}/mlflow.db"},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + UP_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(POLL_SECONDS)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def digits(registered: Shell) -> NDArray[np.uint8]:
    return load_test(registered.root / "data/prepared/mnist")[0][:64]


def post(address: str, body: Any) -> requests.Response:
    return requests.post(address, json=body, timeout=ANSWER_SECONDS)


def test_what_is_served_is_onnx(registered: Shell) -> None:
    (path,) = registered.root.glob("mlartifacts/*/*/artifacts/model*/MLmodel")
    assert yaml.safe_load(path.read_text())["flavors"]["python_function"]["loader_module"] == "mlflow.onnx"


@pytest.mark.parametrize("count", [1, 64])
def test_the_champion_answers_as_torch_does(
    registered: Shell, address: str, digits: NDArray[np.uint8], count: int
) -> None:
    (path,) = registered.run_folders()
    folder = RunFolder(path)
    weights = folder.status()["files"]["weights.safetensors"]
    reader = load_reader(folder.config(), path / "weights.safetensors", weights)
    answer = post(address, {"inputs": digits[:count].tolist()})
    assert answer.status_code == 200, answer.text
    served = np.array(answer.json()["predictions"]["logits"])
    assert served.shape == (count, 10)
    np.testing.assert_allclose(served, predict_digits(reader, digits[:count]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [[0] * 28]},
        {"inputs": [[[0] * 20] * 28]},
        {"inputs": [[["x"] * 28] * 28]},
        {"inputs": []},
        {"nonsense": 1},
        "nonsense",
    ],
    ids=["an image without its batch", "20 columns", "text", "nothing", "another key", "no object"],
)
def test_a_wrong_request_is_the_askers_mistake(address: str, body: Any, digits: NDArray[np.uint8]) -> None:
    assert post(address, body).status_code == 400
    assert post(address, {"inputs": digits[:1].tolist()}).status_code == 200
