from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from drawing import ODD, Draw, assert_small_and_repeatable, history
from lenet.evaluation.plots import variants as comparisons
from lenet.evaluation.plots.variants import VariantErrors


def curves(variants: dict[str, list[list[dict[str, float]]]]) -> Draw:
    return lambda path, title: comparisons.compare_curves(variants, path, title)


def errors(rows: list[VariantErrors]) -> Draw:
    return lambda path, title: comparisons.compare_errors(rows, path, title)


MANY = {f"variant {n}": [history(20, factor=1 / n), history(12, factor=1.1 / n)] for n in range(1, 10)}
PICTURES: dict[str, Draw] = {
    "curves": curves({"relu": [history(8), history(5, factor=1.2)], "_tanh $_{<": [history(8)]}),
    "curves, many": curves(MANY),
    "curves, one epoch, one seed": curves({"relu": [history(1)]}),
    "curves, no validation": curves({"relu": [history(3, validation=False)]}),
    "curves, none": curves({}),
    "errors": errors(
        [VariantErrors("relu", [80, 90], 10_000, (0.7, 1.0)), VariantErrors("_tanh $_{< $", [70], 10_000, (0.5, 0.9))]
    ),
    "errors, one seed": errors([VariantErrors("relu", [95], 10_000, (0.8, 1.2))]),
    "errors, no error": errors(
        [VariantErrors("relu", [0, 0], 10_000, (0.0, 0.04)), VariantErrors(ODD, [], 10_000, (0.0, 1.0))]
    ),
    "errors, no run": errors([VariantErrors("relu", [], 10_000, (0.0, 1.0))]),
    "errors, none": errors([]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_is_a_small_picture_with_the_same_bytes_twice(name: str, tmp_path: Path) -> None:
    assert_small_and_repeatable(PICTURES[name], tmp_path)


def test_neither_import_nor_drawing_loads_pyplot_or_torch(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from lenet.evaluation.plots import variants as comparisons;"
        "import lenet.evaluation.plots.quality, lenet.evaluation.plots.run; early = 'matplotlib' in sys.modules;"
        f"comparisons.compare_errors([], pathlib.Path({str(tmp_path / 'one.png')!r}));"
        "print(early, [m for m in ('matplotlib.pyplot', 'torch', 'mlflow', 'scipy.stats') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "False []"


def test_a_failed_drawing_leaves_the_old_picture(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        comparisons.compare_errors([VariantErrors("relu", [1], 0, (0.0, 1.0))], path)
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["one.png"]
