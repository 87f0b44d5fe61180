from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from drawing import Draw, assert_small_and_repeatable
from lenet.evaluation.plots import misclassified as mistakes
from lenet.evaluation.plots.misclassified import draw_misclassified

FIRST = 9000
"""Position of the first image in its data set."""


def some(wrong: int, doubtful: list[int] | None = None) -> Draw:
    source = np.random.default_rng(1)
    images = np.zeros((60, 1, 28, 28), dtype=np.uint8)
    images[:, 0, 4:24, 4:24] = source.integers(0, 256, (60, 20, 20))  # no digit is as hard to compress as noise
    logits = source.normal(0, 3, (60, 10))
    labels = logits.argmax(axis=1)
    labels[:wrong] = (labels[:wrong] + 1) % 10
    places, marked = np.arange(60) + FIRST, None if doubtful is None else np.array(doubtful, dtype=np.int64)
    return lambda path, title: draw_misclassified(images, labels, logits, path, title, places, marked)


def blue(path: Path) -> int:
    """Count the pixels of the colour that frames have."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return int(((pixels[..., 2] - pixels[..., 0] > 120) & (pixels[..., 0] < 60)).sum())


PICTURES: dict[str, Draw] = {
    "more than fit": some(60),
    "one": some(1),
    "none": some(0),
    "all doubtful": some(60, list(range(FIRST, FIRST + 60))),
    "none, some doubtful": some(0, [FIRST]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_small_picture_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_small_and_repeatable(PICTURES[name], tmp_path)


def test_the_surest_mistakes_are_drawn_first(tmp_path: Path) -> None:
    images = np.zeros((3, 1, 28, 28), dtype=np.uint8)
    images[2] = 255
    logits = np.array([[1.0, 0.0], [9.0, 0.0], [9.0, 0.0]])

    def leftmost_is_ink(labels: list[int]) -> bool:
        path = tmp_path / "one.png"
        draw_misclassified(images, np.array(labels), logits, path, "", np.arange(3))
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
        columns = (pixels < 40).mean(axis=0)[: pixels.shape[1] // mistakes.COLUMNS]
        return bool(columns.max() > 0.3)

    assert not leftmost_is_ink([1, 1, 0])
    assert leftmost_is_ink([1, 0, 1])


def test_doubtful_labels_are_framed_and_only_those_that_are_misread(tmp_path: Path) -> None:
    found = {}
    for name, doubtful in {
        "nobody looked": None,
        "read right": [FIRST + 9],
        "one": [FIRST],
        "two": [FIRST, 9001],
    }.items():
        some(5, doubtful)(tmp_path / "one.png", "")
        found[name] = blue(tmp_path / "one.png")
    assert found["nobody looked"] == found["read right"] == 0
    assert found["one"] > 1000
    assert found["two"] == pytest.approx(2 * found["one"], rel=0.1)


def test_a_legend_says_what_the_frame_means_and_counts_all_misread_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    draw = FigureCanvasAgg.draw

    def noted(canvas: FigureCanvasAgg) -> None:
        drawn.append(canvas.figure)
        draw(canvas)

    monkeypatch.setattr(FigureCanvasAgg, "draw", noted)
    some(50, [FIRST, FIRST + 1, FIRST + 55])(tmp_path / "one.png", "")
    some(50)(tmp_path / "one.png", "")
    headings = [figure.axes[0].get_title(loc="left") for figure in drawn]
    first, second = headings[0].split("\n")
    assert first == "The 40 surest of 50 misread of 60: true → read, its probability"
    assert second == f"2 of 3 {mistakes.LEGEND}"
    assert headings[1] == first
