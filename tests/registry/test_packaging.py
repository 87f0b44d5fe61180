"""The files of a version as MLflow serves them: ONNX, with torch's own beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from lenet.config.schema import Config
from lenet.core.atomic_io import sha256_file
from lenet.evaluation.predict import predict
from lenet.export.onnx_file import export_onnx
from lenet.models.classifier import Classifier, build_classifier
from lenet.registry.packaging import ONNX_FILE, pack_onnx, pack_torch


@pytest.fixture
def network(make_config: Callable[..., Config]) -> Classifier:
    config = make_config()
    torch.manual_seed(3)
    return build_classifier(config, [0.13], [0.31]).eval()


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (70, 1, 28, 28), dtype=np.uint8)


def requirements(folder: Path) -> set[str]:
    return {line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()}


def test_the_served_onnx_model_predicts_as_the_network(
    tmp_path: Path, network: Classifier, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "x.onnx", tmp_path / "model"
    export_onnx(network, file, {})
    pack_onnx(file, (1, 28, 28), 10, folder)
    assert sha256_file(folder / ONNX_FILE) == sha256_file(file)
    assert [path.name for path in folder.glob("*.onnx*")] == [ONNX_FILE]  # no weights in another file
    about = yaml.safe_load((folder / "MLmodel").read_text())
    assert about["flavors"]["python_function"]["loader_module"] == "mlflow.onnx"
    assert requirements(folder) == {"mlflow", "onnx", "onnxruntime", "numpy"}
    expected = predict(network, images)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")  # nothing that is served needs it
    served = mlflow.pyfunc.load_model(str(folder))
    for count in (1, 70):
        answer = served.predict(images[:count].astype(np.float32))
        assert list(answer) == ["logits", "probabilities", "class"]
        assert answer["class"].tolist() == expected[:count].argmax(axis=1).tolist()
        np.testing.assert_allclose(answer["logits"], expected[:count], rtol=0, atol=1e-4)
    schema = served.metadata.signature
    assert [(tuple(field.shape), str(field.type)) for field in schema.inputs] == [((-1, 1, 28, 28), "float32")]
    assert [(field.name, tuple(field.shape), str(field.type)) for field in schema.outputs] == [
        ("logits", (-1, 10), "float32"),
        ("probabilities", (-1, 10), "float32"),
        ("class", (-1,), "int64"),
    ]
    pixels = images.astype(np.float32)
    for wrong in (pixels[:, :, :20], pixels.reshape(70, -1)):
        with pytest.raises(mlflow.exceptions.MlflowException):
            served.predict(wrong)


def test_torchs_own_model_predicts_as_the_network(
    tmp_path: Path, network: Classifier, images: NDArray[np.uint8]
) -> None:
    pack_torch(network, 10, tmp_path / "torch")
    assert requirements(tmp_path / "torch") == {"mlflow", "torch", "numpy"}
    own = mlflow.pyfunc.load_model(str(tmp_path / "torch"))
    for count in (1, 70):
        np.testing.assert_allclose(own.predict(images[:count]), predict(network, images[:count]), atol=1e-4)
    with pytest.raises(mlflow.exceptions.MlflowException):
        own.predict(images[:, :, :20])
