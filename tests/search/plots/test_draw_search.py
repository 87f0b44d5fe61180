from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recorded_studies import ACTIVATION, RATE, SEARCHES, Search, always, complete

from lenet.search.importance import MIN_TRIALS, importances
from lenet.search.plots.draw_search import PICTURES, draw_search
from lenet.search.search_space import Space

LARGEST_BYTES = 400_000
BLUE, ORANGE, PINK = (0, 114, 178), (213, 94, 0), (204, 121, 167)
DRAWN = {
    "no trial": set(),
    "one running": set(),
    "one complete": {"history.png", "parallel.png", "learning.png"},
    "only pruned": {"history.png", "learning.png"},
    "only failed": {"history.png"},
    "all infinite": {"history.png"},
    "one field": {"history.png", "parallel.png", "learning.png", "importance.png"},
    "two objectives": {"history.png", "parallel.png", "importance.png"},
}


def draw(search: Search, folder: Path) -> dict[str, Path]:
    paths = draw_search(search.study, search.records, search.space, folder)
    return {path.name: path for path in paths}


def has_colour(path: Path, colour: tuple[int, int, int], within: int = 30) -> bool:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    return bool((np.abs(pixels - colour).max(axis=-1) < within).sum() > 20)


@pytest.mark.parametrize("name", SEARCHES)
def test_the_pictures_that_the_trials_allow_are_drawn(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = draw(SEARCHES[name](), tmp_path / "plots")
    assert set(paths) == DRAWN.get(name, set(paths))
    assert set(paths) <= set(PICTURES)
    for path in paths.values():
        assert path.stat().st_size <= LARGEST_BYTES
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert 1000 <= picture.width <= 3300
            assert 200 <= picture.height <= 1700


def test_the_same_search_has_the_same_bytes(tmp_path: Path) -> None:
    one, two = draw(Search(), tmp_path / "one"), draw(Search(), tmp_path / "two")
    assert [path.read_bytes() for path in one.values()] == [path.read_bytes() for path in two.values()]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (lambda: Search(5, always()), (True, True, False)),
        (lambda: Search(5, always(state="PRUNED")), (False, False, False)),
        (lambda: Search(5, always(over=1.0)), (False, False, True)),  # a trial over a limit is never the best
    ],
)
def test_kinds_of_trials_have_colours(search: object, expected: tuple[bool, ...], tmp_path: Path) -> None:
    path = draw(search(), tmp_path)["history.png"]  # type: ignore[operator]
    assert tuple(has_colour(path, colour) for colour in (BLUE, ORANGE, PINK)) == expected


def test_importance_tells_the_field_that_matters_from_one_that_does_not() -> None:
    shares = importances(Search(40, complete, Space((ACTIVATION, RATE))).study)
    assert list(shares) == ["optimizer.learning_rate", "model.activation"]
    assert shares["optimizer.learning_rate"] > 0.7
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(Search(40, complete, Space((ACTIVATION, RATE)), ("val/error", "parameters")).study) == shares


@pytest.mark.parametrize(
    "search",
    [
        lambda: Search(0),
        lambda: Search(MIN_TRIALS - 1, complete),
        lambda: Search(30, always(state="PRUNED")),
        lambda: Search(MIN_TRIALS, always()),  # all errors are the same
        SEARCHES["one choice"],
    ],
)
def test_importance_of_too_few_trials_or_no_difference_is_empty(search: object) -> None:
    assert importances(search().study) == {}  # type: ignore[operator]


def test_import_loads_no_slow_library() -> None:
    code = (
        "import sys, lenet.search.page, lenet.search.plots.draw_search;"
        "print([m for m in ('matplotlib', 'optuna', 'plotly', 'torch') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "[]"
