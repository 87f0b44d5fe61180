from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lenet.config.schema import Config
from lenet.core.atomic_io import sha256_file
from lenet.core.errors import DamagedError
from lenet.evaluation.predict import load_network, predict
from lenet.models.classifier import Classifier, build_classifier

MakeConfig = Callable[..., Config]


def reader_of(config: Config) -> Classifier:
    torch.manual_seed(3)
    return build_classifier(config, [0.13], [0.31]).eval()


@pytest.fixture
def digits() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2100, 1, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_the_file_holds_the_whole_network(
    make_config: MakeConfig, tmp_path: Path, digits: np.ndarray, normalization: str
) -> None:
    config, path = make_config(model__normalization=normalization), tmp_path / "weights.safetensors"
    reader = reader_of(config)
    save_file(reader.state_dict(), path)
    found = load_network(config, path, sha256_file(path))
    assert not found.training
    with torch.inference_mode():
        expected = reader(torch.from_numpy(digits[:5])).numpy()
    np.testing.assert_allclose(predict(found, digits[:5]), expected, rtol=1e-5, atol=1e-5)


def test_many_images_are_read_in_parts_and_come_back_in_order(make_config: MakeConfig, digits: np.ndarray) -> None:
    reader = reader_of(make_config())
    logits = predict(reader, digits)
    assert (logits.shape, logits.dtype) == ((2100, 10), np.float32)
    for place in (0, 999, 1000, 2099):
        np.testing.assert_allclose(logits[place], predict(reader, digits[place : place + 1])[0], rtol=1e-4, atol=1e-5)


def test_another_file_than_the_one_on_record_is_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    config, path = make_config(), tmp_path / "weights.safetensors"
    with pytest.raises(DamagedError, match=r"weights\.safetensors: is missing; `dvc repro` makes it anew$"):
        load_network(config, path, "0" * 64)
    save_file(reader_of(config).state_dict(), path)
    sha256 = sha256_file(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"weights\.safetensors: sha256 is .*; `dvc repro` makes it anew$"):
        load_network(config, path, sha256)
