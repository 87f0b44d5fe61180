"""A version's folder as MLflow serves it: ONNX, with torch's own beside it."""

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
from lenet.core.project import Project
from lenet.evaluation.predict import predict_digits
from lenet.export.onnx_file import export_onnx
from lenet.models.lenet5 import build_network
from lenet.models.preprocessing import Classifier, PadAndNormalize
from lenet.registry.packaging import ONNX_FILE, TORCH_FOLDER, log_measures, pack_both
from lenet.tracking.store import open_store, tracking_uri


@pytest.fixture
def reader(make_config: Callable[..., Config]) -> Classifier:
    config = make_config()
    torch.manual_seed(3)
    return Classifier(PadAndNormalize(0.13, 0.31), build_network(config.model, config.data.classes)).eval()


@pytest.fixture
def digits() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (70, 28, 28), dtype=np.uint8)


def test_both_models_of_a_version_read_as_the_network(
    tmp_path: Path, reader: Classifier, digits: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "x.onnx", tmp_path / "model"
    export_onnx(reader, file, {})
    pack_both(file, reader, 10, folder)
    assert sha256_file(folder / ONNX_FILE) == sha256_file(file)
    assert [path.name for path in folder.glob("*.onnx*")] == [ONNX_FILE]  # no weights in another file
    about = yaml.safe_load((folder / "MLmodel").read_text())
    assert about["flavors"]["python_function"]["loader_module"] == "mlflow.onnx"
    requirements = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} == {"mlflow", "onnx", "onnxruntime", "numpy"}
    expected = predict_digits(reader, digits)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")  # nothing that is served needs it
    served = mlflow.pyfunc.load_model(str(folder))
    for count in (1, 70):
        answer = served.predict(digits[:count].astype(np.float32))
        assert list(answer) == ["logits", "probabilities", "class"]
        assert answer["class"].tolist() == expected[:count].argmax(axis=1).tolist()
        np.testing.assert_allclose(answer["logits"], expected[:count], rtol=0, atol=1e-4)
    monkeypatch.delenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION")
    own = mlflow.pyfunc.load_model(str(folder / TORCH_FOLDER))
    np.testing.assert_allclose(own.predict(digits), expected, rtol=0, atol=1e-4)


def test_the_signature_refuses_other_shapes(tmp_path: Path, reader: Classifier, digits: NDArray[np.uint8]) -> None:
    file, folder = tmp_path / "x.onnx", tmp_path / "model"
    export_onnx(reader, file, {})
    pack_both(file, reader, 10, folder)
    served = mlflow.pyfunc.load_model(str(folder))
    schema = served.metadata.signature
    assert [(tuple(field.shape), str(field.type)) for field in schema.inputs] == [((-1, 28, 28), "float32")]
    outputs = [(field.name, tuple(field.shape), str(field.type)) for field in schema.outputs]
    assert outputs == [
        ("logits", (-1, 10), "float32"),
        ("probabilities", (-1, 10), "float32"),
        ("class", (-1,), "int64"),
    ]
    pixels = digits.astype(np.float32)
    for wrong in (pixels[:, :20], pixels.reshape(70, -1)):
        with pytest.raises(mlflow.exceptions.MlflowException):
            served.predict(wrong)


def test_measures_are_logged_once(project: Project) -> None:
    client = open_store(project, tracking_uri(project))
    run = client.create_run(client.create_experiment("x")).info.run_id
    for value in (1.0, 1.0, 2.0):
        log_measures(client, run, {"export/onnx_bytes": value, "export/torch_images_1_ms": 0.5})
    assert [point.value for point in client.get_metric_history(run, "export/onnx_bytes")] == [1.0, 2.0]
    assert len(client.get_metric_history(run, "export/torch_images_1_ms")) == 1
