from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lenet.core.errors import LenetError
from lenet.kernels import library
from lenet.kernels.levels import Level
from lenet.kernels.library import (
    LEVEL_VARIABLE,
    Kernel,
    Missing,
    compiled_file,
    load_kernel,
    suitable_levels,
    trained_by,
)

LEVELS = suitable_levels()
pytestmark = pytest.mark.skipif(not LEVELS, reason="no level is for this processor")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the kernels that the library loads from."""
    copy = tmp_path / "kernels"
    shutil.copytree(compiled_file(LEVELS[0]).parent, copy)

    def elsewhere(level: Level) -> Path:
        return copy / level.file

    monkeypatch.setattr(library, "compiled_file", elsewhere)
    return copy


def load() -> Kernel | Missing:
    return load_kernel.__wrapped__()


def test_every_level_of_this_processor_was_compiled_and_the_fastest_is_loaded() -> None:
    assert [one.file for one in LEVELS if not compiled_file(one).is_file()] == []
    kernel = load_kernel()
    assert isinstance(kernel, Kernel)
    assert kernel.level == LEVELS[0].name
    assert (trained_by("fused"), trained_by("torch")) == (f"fused ({kernel.level})", "torch")


def test_a_level_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LEVEL_VARIABLE, "nonesuch")
    assert isinstance(load(), Missing)


def test_a_level_that_was_not_compiled_gives_way_to_the_next_one(folder: Path) -> None:
    (folder / LEVELS[0].file).unlink()
    found = load()
    assert isinstance(found, Missing) == (len(LEVELS) == 1)
    assert isinstance(found, Missing) or found.level == LEVELS[1].name
    for level in LEVELS[1:]:
        (folder / level.file).unlink()
    found = load()
    assert isinstance(found, Missing)
    assert "pip install" in found.reason


@pytest.mark.parametrize("file", [LEVELS[0].file if LEVELS else "", "lenet5.c", "vectors.h"])
@pytest.mark.parametrize("damage", ["cut", "edit"])
def test_a_damaged_kernel_or_one_older_than_its_sources_is_not_loaded(folder: Path, file: str, damage: str) -> None:
    """Loading a file that is cut short would end Python by a signal."""
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2] if damage == "cut" else content + b"\n")
    with pytest.raises(LenetError, match="is damaged, or older than its sources; `pip install"):
        load()
