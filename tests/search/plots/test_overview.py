from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from made_studies import ACTIVATION, RATE, SEARCHES, Made, Search, always, complete
from PIL import Image

from lenet.search.importance import MIN_TRIALS, importance
from lenet.search.parameter import Space
from lenet.search.plots.history import history, learning
from lenet.search.plots.labels import field_lines, percent, ticks, value_text
from lenet.search.plots.overview import draw_search
from lenet.search.plots.parallel import parallel_coordinates

LARGEST_BYTES = 400_000
EVERY = ["history.png", "parallel.png", "learning.png"]


def draw(search: Search, folder: Path) -> list[Path]:
    return draw_search(search.study, search.found, search.space, search.objectives, folder)


def has_colour(path: Path, colour: tuple[int, int, int], within: int = 30) -> bool:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return bool((np.abs(pixels - colour).max(axis=-1) < within).sum() > 20)


BLUE, ORANGE, PINK = (0, 114, 178), (213, 94, 0), (204, 121, 167)


@pytest.mark.parametrize("name", SEARCHES)
def test_whatever_a_search_came_to_its_pictures_are_drawn(name: str, tmp_path: Path) -> None:
    search = SEARCHES[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = draw(search, tmp_path / "plots")
    expected = set(EVERY) | ({"importance.png"} if importance(search.study).shares else set())
    expected |= {"front.png"} if len(search.objectives) > 1 else set()
    assert {path.name for path in paths} == expected
    assert sorted(paths) == sorted((tmp_path / "plots").iterdir())
    for path in paths:
        assert path.stat().st_size <= LARGEST_BYTES
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert 1000 <= picture.width <= 2900
            assert 200 <= picture.height <= 1700
            assert len(picture.getcolors()) > 5  # something is drawn


def test_the_same_search_has_the_same_bytes(tmp_path: Path) -> None:
    search = Search()
    for one, two in zip(draw(search, tmp_path / "one"), draw(search, tmp_path / "two"), strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_what_a_trial_came_to_is_told_by_colour(tmp_path: Path) -> None:
    def colours(search: Search) -> list[bool]:
        history(search.found, tmp_path / "one.png", "")
        return [has_colour(tmp_path / "one.png", colour) for colour in (BLUE, ORANGE, PINK)]

    assert colours(Search(5, always())) == [True, True, False]
    assert colours(Search(5, always(state="PRUNED"))) == [False, False, False]
    assert colours(Search(5, always(over=1.0))) == [False, False, True]  # what is over a limit is never the best


def test_the_best_alone_is_orange_where_lines_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    for comes_to, is_orange in ((complete, True), (always(state="PRUNED"), False)):
        search = Search(12, comes_to)
        learning(search.found, path, "")
        assert has_colour(path, ORANGE) is is_orange
        parallel_coordinates(search.found, search.space, path, "")
        assert has_colour(path, ORANGE) is is_orange


def test_the_field_that_matters_is_told_from_one_that_does_not() -> None:
    search = Search(40, complete, Space((ACTIVATION, RATE)))
    found = importance(search.study)
    assert list(found.shares) == ["optimizer.learning_rate", "model.activation"]
    assert found.shares["optimizer.learning_rate"] > 0.7
    assert sum(found.shares.values()) == pytest.approx(1)
    assert (found.trials, found.reason) == (40, "")


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (lambda: Search(0), "0 complete trials: at least 10"),
        (lambda: Search(1, always()), "1 complete trial: at least 10"),
        (lambda: Search(MIN_TRIALS - 1, complete), "9 complete trials: at least 10"),
        (lambda: Search(30, always(state="PRUNED")), "0 complete trials: at least 10"),
        (lambda: Search(MIN_TRIALS, always()), "the same validation error"),
        (SEARCHES["one choice"], "No field had more than one value"),
        (
            lambda: Search(12, lambda number, _: Made(error=1.0 + (number > 6)), Space((ACTIVATION,))),
            None,  # seven trials are the best together: few, but they are told
        ),
    ],
)
def test_importance_is_told_or_why_not(search: object, reason: str | None) -> None:
    found = importance(search().study)  # type: ignore[operator]
    if reason is None:
        assert found.shares
    else:
        assert found.shares == {}
        assert reason in found.reason


def test_with_two_objectives_what_matters_is_told_of_the_error() -> None:
    one = Search(30, complete, Space((ACTIVATION, RATE)))
    two = Search(30, complete, Space((ACTIVATION, RATE)), objectives=("val/error", "parameters"))
    assert importance(two.study).shares == importance(one.study).shares


def test_names_values_and_ticks_are_short() -> None:
    assert field_lines("optimizer.schedule.warmup_fraction") == ["schedule", "warmup_", "fraction"]
    assert field_lines("optimizer.beta2") == ["optimizer", "beta2"]
    assert field_lines("x" * 40) == ["x" * 15 + "…"]
    assert [value_text(value) for value in (None, True, 3, 0.001234567, "relu\n")] == [
        "null", "true", "3", "0.001235", "relu",
    ]  # fmt: skip
    assert (percent(0.461), percent(0.004)) == ("46 %", "< 1 %")
    assert ticks([1e-4, 1e-1], log=True) == pytest.approx(
        [m * 10.0**e for e in (-4, -3, -2) for m in (1, 2, 5)] + [0.1]
    )
    assert ticks([0, 2], log=False, whole=True) == [0, 1, 2]
    assert ticks([3.0], log=True) == [3.0]


def test_neither_import_nor_drawing_loads_what_takes_long(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from lenet.search import page as webpage;"
        "from lenet.search.plots import history as curves, overview as pictures;"
        "early = [m for m in ('matplotlib', 'optuna', 'plotly', 'torch') if m in sys.modules];"
        f"curves.history([], pathlib.Path({str(tmp_path / 'one.png')!r}), '');"
        "print(early, [m for m in ('matplotlib.pyplot', 'optuna', 'plotly', 'torch', 'mlflow') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "[] []"
