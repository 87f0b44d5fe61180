from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from drawing import ODD, Draw, assert_small_and_repeatable, history
from lenet.config.schema import Config
from lenet.core.atomic_io import sha256_file
from lenet.evaluation.plots import run as plots
from lenet.evaluation.trained_model import TrainedModel
from lenet.models.classifier import build_classifier

DIGITS = tuple("0123456789")


def filters(weights: np.ndarray) -> Draw:
    return lambda path, title: plots.first_layer_filters(weights.astype(np.float32), path, title)


def matrix(counts: np.ndarray, classes: tuple[str, ...] = DIGITS) -> Draw:
    return lambda path, title: plots.confusion_matrix(counts.astype(np.int64), classes, path, title)


def learning(rows: list[dict[str, float]]) -> Draw:
    return lambda path, title: plots.learning_curves(rows, path, title)


SOURCE = np.random.default_rng(0)
PICTURES: dict[str, Draw] = {
    "learning": learning(history(20)),
    "learning, one epoch": learning(history(1)),
    "learning, no epoch": learning([]),
    "learning, no validation": learning(history(5, validation=False)),
    "learning, only epochs": learning([{"epoch": 1}, {"epoch": 2}]),
    "learning, no error left": learning([{**row, "train/error": 0.0, "val/error": 0.0} for row in history(3)]),
    "learning, diverged": learning([{**row, "train/loss": math.nan, "val/error": math.inf} for row in history(3)]),
    "confusion": matrix(SOURCE.integers(0, 9, (10, 10)) + 900 * np.eye(10)),
    "confusion, named": matrix(SOURCE.integers(0, 9, (3, 3)), ("airplane", "_$_{<", ODD)),
    "confusion, perfect": matrix(np.eye(10) * 1000),
    "confusion, nothing seen": matrix(np.zeros((10, 10))),
    "confusion, many classes": matrix(np.ones((62, 62)), tuple(map(str, range(62)))),
    "filters": filters(SOURCE.normal(0, 0.2, (6, 1, 5, 5))),
    "filters, in colour": filters(SOURCE.normal(0, 0.2, (48, 3, 5, 5))),
    "filters, zero": filters(np.zeros((6, 1, 5, 5))),
    "filters, one, diverged": filters(np.full((1, 1, 5, 5), np.nan)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_small_picture_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_small_and_repeatable(PICTURES[name], tmp_path)


def test_the_diagonal_does_not_drown_one_error(tmp_path: Path) -> None:
    counts = np.eye(10) * 1000
    counts[4, 9] = 12
    matrix(counts)(tmp_path / "one.png", "")
    with Image.open(tmp_path / "one.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    saturated = pixels[..., 0] - pixels[..., 2] > 100
    assert 0.002 < saturated.mean() < 0.02  # the one cell of a hundred, and nothing else, is deeply coloured


def test_first_filters_are_those_of_the_convolution_that_looks_at_the_images(
    make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = make_config(), tmp_path / "weights.safetensors"
    network = build_classifier(config)
    save_file(network.state_dict(), path)
    model = TrainedModel("tiny", config, "f" * 64, "d" * 64, path, sha256_file(path))
    found = plots.first_filters(model)
    assert found is not None
    assert torch.equal(torch.from_numpy(found), next(network.network.parameters()))
    for first in (nn.Linear(4, 3), nn.Conv2d(5, 3, 2)):  # a perceptron, and a convolution of what is no image
        monkeypatch.setattr(TrainedModel, "load", lambda self, first=first: nn.Sequential(nn.Flatten(), first))
        assert plots.first_filters(model) is None
