"""`kill -9` at every point of a change of the champion, and at random times; see kills.py for how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from showcase import Showcase, aliases, make_champion, promote_challenger

POINTS, ROLLBACK_POINTS = 20, 8
"""Of some fifty; `python tests/kills.py all …` takes every one, in minutes."""

BEFORE = {"champion": "1", "challenger": "2"}
AFTER = {"champion": "2", "previous": "1"}


def kill(kind: str, showcase: Showcase, *words: str) -> list[dict[str, Any]]:
    script = Path(__file__).parents[1] / "kills.py"
    done = subprocess.run(
        [sys.executable, str(script), kind, str(showcase.project.root), *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # a child that was forked has none of its parent's threads
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def assert_whole(results: list[dict[str, Any]], allowed: list[dict[str, str]], end: dict[str, str]) -> None:
    for result in results:
        for found in (result["after"], result["again"]):
            assert found["champions"] == 1, result
            assert found["is_whole"], result
            assert found["left"] == [], result
            assert found["aliases"] in allowed, result
        assert result["again"]["aliases"] == end, result


@pytest.fixture
def challenged(showcase: Showcase) -> Showcase:
    """A champion, version 1, and a better challenger, version 2."""
    make_champion(showcase, 3, 4)
    showcase.register()
    assert aliases(showcase) == BEFORE
    return showcase


@pytest.mark.long
@pytest.mark.parametrize("kind", [str(POINTS), "times"])
def test_promotion_killed_anywhere_leaves_one_champion_whose_bytes_are_right(challenged: Showcase, kind: str) -> None:
    results = kill(kind, challenged, "promote")
    assert len(results) == POINTS
    assert_whole(results, [BEFORE, AFTER], AFTER)
    for result in results:
        after = result["after"]
        is_promoted = after["aliases"] == AFTER
        # what is done is in the history, once, and what is not leaves no trace
        assert after["history"] == ["0001-promote.json", "0002-promote.json"][: 1 + is_promoted], result
        assert ("lenet.promoted_at" in after["tags"]["2"]) == is_promoted, result
        assert result["again"]["history"] == ["0001-promote.json", "0002-promote.json"], result
    if kind != "times":
        assert {result["after"]["aliases"]["champion"] for result in results} == {"1", "2"}


@pytest.mark.long
def test_rollback_killed_anywhere_is_one_step_back(challenged: Showcase) -> None:
    assert promote_challenger(challenged).done
    results = kill(str(ROLLBACK_POINTS), challenged, "rollback")
    back = {"champion": "1"}
    assert_whole(results, [AFTER, back], back)
    for result in results:
        assert len(result["again"]["history"]) == 3, result
