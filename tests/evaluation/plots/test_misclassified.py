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

DIGITS = tuple("0123456789")
ANIMALS = ("cat", "airplane", "_$_{<", "automobile", *DIGITS[4:])


def some(
    wrong: int,
    doubtful: list[int] | None = None,
    shape: tuple[int, ...] = (1, 28, 28),
    classes: tuple[str, ...] = DIGITS,
) -> Draw:
    source = np.random.default_rng(1)
    images = np.zeros((60, *shape), dtype=np.uint8)
    images[..., 8:16, 8:16] = source.integers(0, 256, (*images.shape[:-2], 8, 8))  # less to compress than noise
    logits = source.normal(0, 3, (60, 10))
    labels = logits.argmax(axis=1)
    labels[:wrong] = (labels[:wrong] + 1) % 10
    positions, marked = np.arange(60) + FIRST, None if doubtful is None else np.array(doubtful, dtype=np.int64)
    return lambda path, title: draw_misclassified(images, labels, logits, classes, path, title, positions, marked)


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
    "in colour, named": some(60, shape=(3, 32, 32), classes=ANIMALS),
    "one channel, not square": some(20, shape=(1, 20, 48)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_small_picture_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_small_and_repeatable(PICTURES[name], tmp_path)


@pytest.mark.parametrize(("shape", "colour"), [((1, 28, 28), (0, 0, 0)), ((3, 28, 28), (255, 0, 0))])
def test_the_surest_mistakes_are_drawn_first(tmp_path: Path, shape: tuple[int, ...], colour: tuple[int, ...]) -> None:
    images = np.zeros((3, *shape), dtype=np.uint8)
    images[2, 0] = 255  # of one channel ink, of three red
    logits = np.array([[1.0, 0.0], [9.0, 0.0], [9.0, 0.0]])

    def leftmost_has_colour(labels: list[int]) -> bool:
        path = tmp_path / "one.png"
        draw_misclassified(images, np.array(labels), logits, ("a", "b"), path, "", np.arange(3))
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        near = np.abs(pixels - colour).max(axis=2) < 40
        return bool(near.mean(axis=0)[: pixels.shape[1] // mistakes.COLUMNS].max() > 0.3)

    assert not leftmost_has_colour([1, 1, 0])
    assert leftmost_has_colour([1, 0, 1])


def test_doubtful_labels_are_framed_and_only_those_that_are_misclassified(tmp_path: Path) -> None:
    found = {}
    for name, doubtful in {"not known": None, "right": [FIRST + 9], "one": [FIRST], "two": [FIRST, FIRST + 1]}.items():
        some(5, doubtful)(tmp_path / "one.png", "")
        found[name] = blue(tmp_path / "one.png")
    assert found["not known"] == found["right"] == 0
    assert found["one"] > 1000
    assert found["two"] == pytest.approx(2 * found["one"], rel=0.1)


def test_the_heading_counts_all_misclassified_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    draw = FigureCanvasAgg.draw

    def noted(canvas: FigureCanvasAgg) -> None:
        drawn.append(canvas.figure)
        draw(canvas)

    monkeypatch.setattr(FigureCanvasAgg, "draw", noted)
    some(50, [FIRST, FIRST + 1, FIRST + 55])(tmp_path / "one.png", "")
    heading, legend = drawn[0].axes[0].get_title(loc="left").split("\n")
    assert heading.startswith("The 40 surest of 50 misclassified of 60")
    assert legend == f"2 of 3 {mistakes.LEGEND}"
