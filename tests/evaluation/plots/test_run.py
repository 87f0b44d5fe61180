from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawing import Draw, assert_small_and_repeatable, history
from lenet.evaluation.plots import run as plots


def filters(weights: np.ndarray) -> Draw:
    return lambda path, title: plots.first_layer_filters(weights, path, title)


def matrix(counts: np.ndarray) -> Draw:
    return lambda path, title: plots.confusion_matrix(counts.astype(np.int64), path, title)


def learning(rows: list[dict[str, float]]) -> Draw:
    return lambda path, title: plots.learning_curves(rows, path, title)


PICTURES: dict[str, Draw] = {
    "learning": learning(history(20)),
    "learning, one epoch": learning(history(1)),
    "learning, no epoch": learning([]),
    "learning, no validation": learning(history(5, validation=False)),
    "learning, only epochs": learning([{"epoch": 1}, {"epoch": 2}]),
    "learning, no error left": learning([{**row, "train/error": 0.0, "val/error": 0.0} for row in history(3)]),
    "learning, diverged": learning([{**row, "train/loss": math.nan, "val/error": math.inf} for row in history(3)]),
    "confusion": matrix(np.random.default_rng(0).integers(0, 9, (10, 10)) + 900 * np.eye(10)),
    "confusion, perfect": matrix(np.eye(10) * 1000),
    "confusion, nothing seen": matrix(np.zeros((10, 10))),
    "confusion, many classes": matrix(np.ones((62, 62))),
    "filters": filters(np.random.default_rng(0).normal(0, 0.2, (6, 1, 5, 5)).astype(np.float32)),
    "filters, zero": filters(np.zeros((6, 1, 5, 5), dtype=np.float32)),
    "filters, one, diverged": filters(np.full((1, 1, 5, 5), np.nan, dtype=np.float32)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_small_picture_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_small_and_repeatable(PICTURES[name], tmp_path)


def test_another_title_gives_another_picture(tmp_path: Path) -> None:
    PICTURES["learning"](tmp_path / "one.png", "one")
    PICTURES["learning"](tmp_path / "two.png", "two")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()


def test_the_diagonal_does_not_drown_one_error(tmp_path: Path) -> None:
    counts = np.eye(10) * 1000
    counts[4, 9] = 12
    matrix(counts)(tmp_path / "one.png", "")
    with Image.open(tmp_path / "one.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    saturated = pixels[..., 0] - pixels[..., 2] > 100
    share = saturated.mean()
    assert 0.002 < share < 0.02  # the one cell of a hundred, and nothing else, is deeply coloured


def test_neither_import_nor_drawing_loads_pyplot_or_torch(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from lenet.evaluation.plots import run as plots; early = 'matplotlib' in sys.modules;"
        f"plots.learning_curves([], pathlib.Path({str(tmp_path / 'one.png')!r}), '');"
        "print(early, [m for m in ('matplotlib.pyplot', 'torch', 'mlflow', 'scipy.stats') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "False []"
