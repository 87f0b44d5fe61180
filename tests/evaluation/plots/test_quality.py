from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawing import ODD, Draw, assert_small_and_repeatable
from lenet.evaluation.calibration import ReliabilityBin, reliability
from lenet.evaluation.metrics import ClassRecall, class_recalls
from lenet.evaluation.plots import quality as plots
from lenet.evaluation.robustness import DISTORTIONS, Curve

DIGITS = tuple("0123456789")


def bins(seed: int = 0, images: int = 500) -> list[ReliabilityBin]:
    source = np.random.default_rng(seed)
    logits = source.normal(0, 3, (images, 10))
    return reliability(logits, np.where(source.random(images) < 0.8, logits.argmax(axis=1), 0))


def recalls(wrong: int = 9, classes: int = 10) -> list[ClassRecall]:
    return class_recalls(np.full((classes, classes), wrong) + 1000 * np.eye(classes, dtype=np.int64))


def curves(seed: int = 0, kinds: int = 6, factor: float = 1.0) -> list[Curve]:
    source = np.random.default_rng(seed)
    found = []
    for kind in DISTORTIONS[:kinds]:
        wrong = [int(20 * bool(factor) + factor * 900 * abs(level - kind.undistorted)) for level in kind.levels]
        wrong = [min(1800, count + int(source.integers(0, 9 * (factor > 0) + 1))) for count in wrong]
        errors = tuple(100 * count / 2000 for count in wrong)
        found.append(Curve(kind.name, kind.unit, kind.levels, 2000, tuple(wrong), errors))
    return found


def reliable(*models: list[ReliabilityBin]) -> Draw:
    return lambda path, title: plots.reliability_diagram(models, path, title)


def recalled(models: dict[str, list[ClassRecall]], classes: tuple[str, ...] = DIGITS) -> Draw:
    return lambda path, title: plots.recall_by_class(models, classes, path, title)


def robust(variants: dict[str, list[list[Curve]]]) -> Draw:
    return lambda path, title: plots.robustness_curves(variants, path, title)


EMPTY = [ReliabilityBin(0.0, 100.0, 0, None, None, None)]
ABSENT = [ClassRecall(0, 0, 0, None, None)]
PICTURES: dict[str, Draw] = {
    "reliability": reliable(bins()),
    "reliability, seven": reliable(*(bins(number) for number in range(7))),
    "reliability, one image": reliable(bins(images=1)),
    "reliability, one without images": reliable(bins(), EMPTY),
    "reliability, none": reliable(EMPTY),
    "recall": recalled({"relu": recalls()}),
    "recall, eight, named": recalled({f"_variant {number}": recalls(number) for number in range(8)}, (ODD,) * 10),
    "recall, nothing right": recalled({"relu": class_recalls(np.array([[0, 5], [5, 0]]))}, ("a", "b")),
    "recall, an empty class": recalled({"relu": class_recalls(np.array([[9, 1], [0, 0]])), "tanh": ABSENT}, ("a", "b")),
    "recall, many classes": recalled({"relu": recalls(1, 62)}, tuple(map(str, range(62)))),
    "recall, none": recalled({"relu": ABSENT}),
    "robustness": robust({"relu": [curves(0), curves(1, factor=0.8)], "_tanh $_{<": [curves(2)]}),
    "robustness, many": robust({f"variant {number}": [curves(number)] for number in range(9)}),
    "robustness, one kind": robust({"relu": [curves(kinds=1)]}),
    "robustness, no error": robust({"relu": [curves(factor=0)], "tanh": []}),
    "robustness, none": robust({"relu": []}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_small_picture_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_small_and_repeatable(PICTURES[name], tmp_path)


def test_a_wide_spread_over_seeds_is_a_wide_band(tmp_path: Path) -> None:
    def tinted(factor: float) -> float:
        robust({"relu": [curves(0), curves(0, factor=factor)]})(tmp_path / "one.png", "")
        with Image.open(tmp_path / "one.png") as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        blue, red = pixels[..., 2], pixels[..., 0]
        return float(((blue - red > 20) & (blue > 200)).mean())

    assert tinted(0.2) > 3 * tinted(0.9)


def test_bins_of_many_models_are_counted_together() -> None:
    one = [ReliabilityBin(0.0, 50.0, 1, 40.0, 100.0, (0.0, 100.0)), ReliabilityBin(50.0, 100.0, 9, 90.0, 80.0, (0, 1))]
    other = [ReliabilityBin(0.0, 50.0, 0, None, None, None), ReliabilityBin(50.0, 100.0, 3, 70.0, 40.0, (0, 1))]
    confidences, accuracies = plots.pooled([one, other])
    assert confidences == pytest.approx([40.0, 85.0])
    assert accuracies == pytest.approx([100.0, 70.0])
