"""An ONNX file and the network it was made from: the same logits, the same bytes again, nothing of the machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from lenet.config.schema import Config, parse_config
from lenet.core.errors import DamagedError
from lenet.export.onnx_file import OPSET, PIXEL_CHECK, export_onnx
from lenet.export.onnx_model import TOLERANCE, Agreement, OnnxClassifier, compare_with_torch
from lenet.models.classifier import Classifier, PadAndNormalize, build_classifier

REPOSITORY = Path(__file__).parents[2]
COLOUR = (3, 6, 5)
MakeConfig = Callable[..., Config]
ABOUT = {"lenet.fingerprint": "f" * 64, "lenet.labels": '["0","1"]', "lenet.git_commit": ""}

AGAIN = """
import json, sys, torch
from pathlib import Path
from lenet.config.schema import parse_config
from lenet.models.classifier import build_classifier
from lenet.export.onnx_file import export_onnx
tree, about, path = json.loads(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
config = parse_config(tree)
torch.manual_seed(3)
export_onnx(build_classifier(config, [0.13], [0.31]), path, about)
"""


def network_of(config: Config) -> Classifier:
    torch.manual_seed(3)
    return build_classifier(config, [0.13], [0.31])


@pytest.fixture(scope="module")
def digits() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (2100, 1, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"model__activation": "scaled_tanh", "model__pooling": "max"},
        {"model__activation": "relu", "model__normalization": "batch"},
        {"model__activation": "gelu", "data__classes": ["a", "b", "c"]},
    ],
    ids=str,
)
def test_every_network_gives_the_same_logits_in_onnxruntime(
    make_config: MakeConfig, tmp_path: Path, digits: NDArray[np.uint8], knobs: dict[str, Any]
) -> None:
    network, path = network_of(make_config(**knobs)), tmp_path / "x.onnx"
    with torch.no_grad():  # statistics that are not those of a new network
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.running_mean.uniform_(-1, 1)
                layer.running_var.uniform_(0.5, 2)
    export_onnx(network.train(), path, {})  # as training leaves it
    found = compare_with_torch(path, network.eval(), digits)
    assert (found.images, found.same_answers, found.holds) == (2100, 2100, True)
    assert found.largest_difference < TOLERANCE
    for count in (1, 3):
        logits = OnnxClassifier(path).predict(digits[:count])
        assert (logits.shape, logits.dtype) == ((count, len(make_config(**knobs).data.classes)), np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perceptron on colour images, exported."""
    torch.manual_seed(3)
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 4))
    network = Classifier(PadAndNormalize([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], COLOUR[1:]), perceptron, COLOUR)
    path = tmp_path_factory.mktemp("exported") / "deep" / "x.onnx"
    export_onnx(network, path, ABOUT)
    return path


def test_the_file_describes_itself(exported: Path) -> None:
    model = onnx.load(str(exported))
    assert {entry.key: entry.value for entry in model.metadata_props} == ABOUT
    assert [entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}] == [OPSET]
    shapes = [
        (value.name, value.type.tensor_type.elem_type, [dim.dim_param or dim.dim_value for dim in shape.dim])
        for value in (*model.graph.input, *model.graph.output)
        for shape in [value.type.tensor_type.shape]
    ]
    assert shapes == [
        ("images", onnx.TensorProto.FLOAT, ["n", *COLOUR]),
        ("logits", onnx.TensorProto.FLOAT, ["n", 4]),
        ("probabilities", onnx.TensorProto.FLOAT, ["n", 4]),
        ("class", onnx.TensorProto.INT64, ["n"]),
    ]
    assert [path.name for path in exported.parent.iterdir()] == ["x.onnx"]


def test_outputs_are_logits_probabilities_and_classes_of_bytes_alone(exported: Path) -> None:
    session = onnxruntime.InferenceSession(str(exported))
    images = np.random.default_rng(2).integers(0, 256, (50, *COLOUR)).astype(np.float32)
    images[0, 0, 0, :3] = 0, 255, 1
    logits, probabilities, classes = session.run(["logits", "probabilities", "class"], {"images": images})
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    assert classes.tolist() == logits.argmax(axis=1).tolist()
    for value in (0.5, -1.0, 256.0, 255.5, 1e9, float("nan"), float("inf")):
        images[2, 2, 5, 4] = value
        with pytest.raises(Exception, match=PIXEL_CHECK):
            session.run(None, {"images": images})


def test_the_same_weights_are_the_same_bytes_in_another_process_and_folder(
    make_tree: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    import json

    tree = make_tree(model__normalization="batch")
    here, there = tmp_path / "here.onnx", tmp_path / "elsewhere" / "there.onnx"
    there.parent.mkdir()
    export_onnx(network_of(parse_config(tree)), here, ABOUT)
    subprocess.run(
        [sys.executable, "-c", AGAIN, json.dumps(tree), json.dumps(ABOUT), str(there)],
        cwd=there.parent,
        env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(REPOSITORY / "src"), "TMPDIR": str(there.parent)},
        check=True,
        timeout=120,
    )
    assert hashlib.sha256(here.read_bytes()).digest() == hashlib.sha256(there.read_bytes()).digest()
    for word in (str(REPOSITORY), "site-packages", "lenet5.py", str(tmp_path), "+cpu", "+cu"):
        assert word.encode() not in here.read_bytes(), word


def test_exporting_leaves_the_network_as_it_is_and_says_nothing(
    make_config: MakeConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = network_of(make_config(model__normalization="batch")).train()
    export_onnx(network, tmp_path / "x.onnx", {})
    assert network.training
    assert capfd.readouterr() == ("", "")


def tilted(config: Config, tilt: float) -> Classifier:
    """A network that predicts class 0 for every image, or class 4 by `tilt`."""
    network = network_of(config).eval()
    with torch.no_grad():
        for parameter in network.network.parameters():
            parameter.zero_()
        network.network.output.bias[4] = tilt  # type: ignore[index, union-attr]
    return network


def test_another_class_is_no_agreement_however_near_the_logits(
    make_config: MakeConfig, tmp_path: Path, digits: NDArray[np.uint8]
) -> None:
    config, path = make_config(), tmp_path / "x.onnx"
    export_onnx(tilted(config, -1e-6), path, {})
    found = compare_with_torch(path, tilted(config, 1e-6), digits[:7])
    assert (found.images, found.same_answers, found.holds) == (7, 0, False)
    assert found.largest_difference == pytest.approx(2e-6)
    same = compare_with_torch(path, tilted(config, -1e-6), digits[:7])
    assert (same.same_answers, same.largest_difference, same.holds) == (7, 0.0, True)
    assert not Agreement(10, 9, 0.0).holds
    assert not Agreement(10, 10, 2 * TOLERANCE).holds
    assert not Agreement(10, 10, float("nan")).holds
    assert Agreement(10, 10, TOLERANCE).holds
    with pytest.raises(ValueError, match="no images"):
        compare_with_torch(path, tilted(config, 0.0), digits[:0])


def test_a_file_that_is_damaged_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"not ONNX at all")
    with pytest.raises(
        DamagedError, match=r"x\.onnx: onnxruntime cannot read it .*; `lenet export` writes it again$"
    ) as told:
        OnnxClassifier(path)
    assert "\n" not in str(told.value)
