"""What the tests of pictures share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from PIL import Image

LARGEST_BYTES = 130_000


ODD = "a $_{< title $x^$ & _more\n\t日本 \udc80\0 " + "long " * 80


Draw = Callable[[Path, str], None]


def history(epochs: int, validation: bool = True, factor: float = 1.0) -> list[dict[str, float]]:
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "train/loss": 2 / epoch, "train/error": 8 / epoch, "learning_rate": 0.001 / epoch}
        if validation:
            row |= {"val/loss": 1 / epoch + 0.1, "val/error": factor * (5 / epoch + 0.7)}
        rows.append(row)
    return rows


def assert_small_and_repeatable(draw: Draw, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(tmp_path / "folder" / "one.png", ODD)
        draw(tmp_path / "folder" / "two.png", ODD)
    content = (tmp_path / "folder" / "one.png").read_bytes()
    assert content == (tmp_path / "folder" / "two.png").read_bytes()
    assert len(content) <= LARGEST_BYTES
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["one.png", "two.png"]
    with Image.open(tmp_path / "folder" / "one.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert 1000 <= picture.width <= 2000
        assert 200 <= picture.height <= 1600
        assert "Software" not in picture.info
        assert len(picture.getcolors()) > 5  # something is drawn
