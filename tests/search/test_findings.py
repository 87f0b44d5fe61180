from __future__ import annotations

import os
from pathlib import Path

import pytest

from lenet.errors import ConfigError
from lenet.search.findings import check_target, publish


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A search's folder, with two pictures."""
    found = tmp_path / "searches" / "one"
    (found / "plots").mkdir(parents=True)
    for name in ("best.yaml", "trials.csv", "search.html", "plots/history.png", "plots/learning.png"):
        (found / name).write_text(name)
    return found


def test_what_else_lies_there_stays(folder: Path, tmp_path: Path) -> None:
    into = tmp_path / "thesis.2026"
    (into / "plots").mkdir(parents=True)
    for name in ("plots/mine.png", "plots/front.png", "chapter.md"):
        (into / name).write_text("mine")
    publish(folder, into)
    assert (into / "plots" / "mine.png").read_text() == "mine"
    assert (into / "chapter.md").read_text() == "mine"
    assert not (into / "plots" / "front.png").exists()  # of another search, which had two objectives
    assert (into / "plots" / "history.png").read_text() == "plots/history.png"
    assert (into / "best.yaml").read_text() == "best.yaml"
    assert (tmp_path / "thesis.2026.html").read_text() == "search.html"


def test_a_place_that_is_none_is_refused_before_anything_is_searched(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for into in (Path("/"), tmp_path / "file"):
        with pytest.raises(ConfigError, match=f"^--into {into}: is no folder"):
            check_target(into)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert check_target(Path()) == tmp_path
    finally:
        os.chdir(before)
