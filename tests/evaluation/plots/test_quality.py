from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawing import ODD, Draw, assert_small_and_repeatable
from lenet.evaluation.calibration import ReliabilityBin, reliability
from lenet.evaluation.metrics import ClassRecall, class_recalls
from lenet.evaluation.plots import quality as quality_plots
from lenet.evaluation.robustness import DISTORTIONS, Curve


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
        wrong = [int(20 + factor * 900 * abs(level - kind.undistorted)) for level in kind.levels]
        wrong = [min(1800, count + int(source.integers(0, 9 * (factor > 0) + 1))) for count in wrong]
        errors = tuple(100 * count / 2000 for count in wrong)
        found.append(Curve(kind.name, kind.unit, kind.levels, 2000, tuple(wrong), errors))
    return found


def nothing_misread() -> list[Curve]:
    return [
        Curve(kind.name, kind.unit, kind.levels, 10, (0,) * len(kind.levels), (0.0,) * len(kind.levels))
        for kind in DISTORTIONS
    ]


def reliable(models: dict[str, list[ReliabilityBin]]) -> Draw:
    return lambda path, title: quality_plots.reliability_diagram(models, path, title)


def recalled(models: dict[str, list[ClassRecall]]) -> Draw:
    return lambda path, title: quality_plots.recall_by_class(models, path, title)


def robust(variants: dict[str, list[list[Curve]]]) -> Draw:
    return lambda path, title: quality_plots.robustness_curves(variants, path, title)


EMPTY = [ReliabilityBin(0.0, 100.0, 0, None, None, None)]
ABSENT = [ClassRecall(0, 0, 0, None, None)]
PICTURES: dict[str, Draw] = {
    "reliability": reliable({"relu": bins()}),
    "reliability, three": reliable({"relu": bins(), "_tanh $_{<": bins(1), ODD: bins(2)}),
    "reliability, seven": reliable({f"seed {number}": bins(number) for number in range(7)}),
    "reliability, one image": reliable({"relu": bins(images=1)}),
    "reliability, one without images": reliable({"relu": bins(), "tanh": EMPTY}),
    "reliability, no image": reliable({"relu": EMPTY}),
    "reliability, none": reliable({}),
    "recall": recalled({"relu": recalls()}),
    "recall, eight": recalled({f"_variant {number}": recalls(number) for number in range(8)}),
    "recall, perfect": recalled({"relu": recalls(0)}),
    "recall, nothing right": recalled({"relu": class_recalls(np.array([[0, 5], [5, 0]]))}),
    "recall, an empty class": recalled({"relu": class_recalls(np.array([[9, 1], [0, 0]])), "tanh": ABSENT}),
    "recall, many classes": recalled({"relu": recalls(1, 62)}),
    "recall, no image": recalled({"relu": ABSENT}),
    "recall, none": recalled({}),
    "robustness": robust({"relu": [curves(0), curves(1, factor=0.8)], "_tanh $_{<": [curves(2)]}),
    "robustness, many": robust({f"variant {number}": [curves(number)] for number in range(9)}),
    "robustness, one kind": robust({"relu": [curves(kinds=1)]}),
    "robustness, nothing misread": robust({"relu": [nothing_misread()], "tanh": []}),
    "robustness, none": robust({"relu": []}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_small_picture_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_small_and_repeatable(PICTURES[name], tmp_path)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (reliable({"relu": bins(0)}), reliable({"relu": bins(1)})),
        (recalled({"relu": recalls(1)}), recalled({"relu": recalls(9)})),
    ],
)
def test_another_result_gives_another_picture(tmp_path: Path, one: Draw, two: Draw) -> None:
    one(tmp_path / "one.png", "title")
    two(tmp_path / "two.png", "title")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()


def test_a_wide_spread_over_seeds_is_a_wide_band(tmp_path: Path) -> None:
    def tinted(factor: float) -> float:
        seeds = [curves(0), curves(0, factor=factor)]
        quality_plots.robustness_curves({"relu": seeds}, tmp_path / "one.png", "")
        with Image.open(tmp_path / "one.png") as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        blue, red = pixels[..., 2], pixels[..., 0]
        return float(((blue - red > 20) & (blue > 200)).mean())

    assert tinted(0.2) > 3 * tinted(0.9)


def test_neither_import_nor_drawing_loads_pyplot_or_torch(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from lenet.evaluation.plots import quality as quality_plots;"
        "early = 'matplotlib' in sys.modules;"
        f"quality_plots.robustness_curves({{}}, pathlib.Path({str(tmp_path / 'one.png')!r}), '');"
        "print(early, [m for m in ('matplotlib.pyplot', 'torch', 'mlflow', 'scipy.stats') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "False []"


def test_bins_of_many_models_are_counted_together() -> None:
    one = [ReliabilityBin(0.0, 50.0, 1, 40.0, 100.0, (0.0, 100.0)), ReliabilityBin(50.0, 100.0, 9, 90.0, 80.0, (0, 1))]
    other = [ReliabilityBin(50.0, 100.0, 3, 70.0, 40.0, (0, 1))]
    confidences, accuracies = quality_plots._together([one, other])
    assert confidences == pytest.approx([40.0, 85.0])
    assert accuracies == pytest.approx([100.0, 70.0])
