"""The champion served as a user serves it, and asked over HTTP."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import yaml
from numpy.typing import NDArray
from shell import ROOT, Shell, copy_project

from lenet.core.atomic_io import read_json, write_json
from lenet.data.arrays import load_test
from lenet.evaluation.predict import load_network, predict
from lenet.export.onnx_file import PIXEL_CHECK
from lenet.runs.run_dir import RunDir
from lenet.tracking.ui_links import UI_PORT

pytestmark = pytest.mark.long
UP_SECONDS = 120
ANSWER_SECONDS = 20
POLL_SECONDS = 0.1
README_PORT = 5001
README_COMMAND = re.findall(r"`(mlflow models serve [^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))[0]
PAGE_BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/serving.md").read_text(encoding="utf-8"), flags=re.DOTALL)
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
    shutil.copytree(root / "build/train/lenet5", root / "build/train/refitted")
    found = root / "build/train/refitted/runs.json"
    write_json(found, read_json(found) | {"variant": "refitted"})
    shutil.copyfile(root / "results/curves/lenet5.csv", root / "results/curves/refitted.csv")
    shell.run("lenet evaluate && lenet export && lenet register")
    return shell


def test_the_export_reads_all_test_digits_as_torch_does(registered: Shell) -> None:
    body = read_json(registered.root / "results/export.json")
    assert body["agreement"]["images"] == body["agreement"]["same_answers"] == 10_000
    assert body["agreement"]["tolerance"] == 1e-4


@pytest.fixture(scope="module")
def address(registered: Shell) -> Iterator[str]:
    """Where the champion is served by the README's command, at a port that is free here."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = README_COMMAND.replace(str(README_PORT), str(port)).split()
    log = registered.root / "serve.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            words,
            cwd=registered.root,
            env=registered.variables(),
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
    (path,) = registered.root.glob("mlartifacts/*/models/*/artifacts/MLmodel")
    assert yaml.safe_load(path.read_text())["flavors"]["python_function"]["loader_module"] == "mlflow.onnx"


def test_the_readmes_command_leaves_the_uis_port_alone() -> None:
    assert f"--port {README_PORT}" in README_COMMAND
    assert README_PORT != UI_PORT
    assert PAGE_BLOCKS[0].strip() == README_COMMAND


def test_the_pages_requests_are_answered_as_typed(registered: Shell, address: str, digits: NDArray[np.uint8]) -> None:
    (path,) = registered.run_folders()
    folder = RunDir(path)
    reader = load_network(
        folder.config(), path / "weights.safetensors", folder.status()["files"]["weights.safetensors"]
    )
    logits = predict(reader, digits[:3])
    classes = logits.argmax(axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    served, read = (block.replace(f"http://127.0.0.1:{README_PORT}/invocations", address) for block in PAGE_BLOCKS[1:])
    told = [line.split(": ") for line in registered.run(served).stdout.splitlines()]
    assert [int(digit) for digit, _ in told] == classes.tolist()
    for (_, share), row, digit in zip(told, shares, classes, strict=True):
        assert float(share.rstrip("%")) == pytest.approx(100 * row[digit], abs=0.06)
    assert [int(digit) for digit in registered.run(read).stdout.split()] == classes.tolist()


@pytest.mark.parametrize("count", [1, 64])
def test_the_champion_answers_as_torch_does(
    registered: Shell, address: str, digits: NDArray[np.uint8], count: int
) -> None:
    (path,) = registered.run_folders()
    folder = RunDir(path)
    weights = folder.status()["files"]["weights.safetensors"]
    reader = load_network(folder.config(), path / "weights.safetensors", weights)
    answer = post(address, {"inputs": digits[:count].tolist()})
    assert answer.status_code == 200, answer.text
    served = np.array(answer.json()["predictions"]["logits"])
    assert served.shape == (count, 10)
    np.testing.assert_allclose(served, predict(reader, digits[:count]), rtol=0, atol=1e-4)


def test_pixels_from_0_to_1_are_refused_and_named(address: str, digits: NDArray[np.uint8]) -> None:
    for pixels in (digits[:2] / 255, digits[:2] / 255 - 0.13, digits[:2] * 2.0):
        answer = post(address, {"inputs": pixels.tolist()})
        assert answer.status_code == 400
        assert PIXEL_CHECK in answer.text


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
