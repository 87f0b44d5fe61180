from __future__ import annotations

import gzip
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_set import NAMES, TRAIN_IMAGES, Tiny

from lenet.config.data_sources import FileConfig, PipConfig
from lenet.core.atomic_io import sha256_file
from lenet.data.download.pip_wheel import open_pip
from lenet.data.download.stream import SourceUnavailableError

MEMBER = "tiny_digits/tiny.pkl.gz"
VALIDATION = 20


def parts(tiny: Tiny) -> Any:
    def part(name: str, start: int, stop: int) -> Any:
        images, labels = tiny.arrays[f"{name}_images"][start:stop], tiny.arrays[f"{name}_labels"][start:stop]
        return images.reshape(len(images), -1).astype(np.float32) / 256, labels.astype(np.int64)

    cut = TRAIN_IMAGES - VALIDATION
    return part("train", 0, cut), part("train", cut, TRAIN_IMAGES), part("test", 0, len(tiny.arrays["test_images"]))


def write_wheel(folder: Path, content: Any) -> Path:
    """Write a wheel that real pip accepts."""
    wheel = folder / "tiny_digits-1.0-py3-none-any.whl"
    info = "tiny_digits-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, gzip.compress(pickle.dumps(content, protocol=3)))
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-digits\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks for packages."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_a_wheel_gives_the_files(links: Path, tiny: Tiny) -> None:
    digest = sha256_file(write_wheel(links, parts(tiny)))
    with open_pip(PipConfig("pip", "tiny-digits==1.0", digest, MEMBER)) as read:
        for role, name in NAMES.items():
            assert b"".join(read(role, FileConfig(name, ""))) == tiny.files[name]


def test_another_wheel_is_refused(links: Path, tiny: Tiny) -> None:
    write_wheel(links, parts(tiny))
    with (
        pytest.raises(SourceUnavailableError, match="DO NOT MATCH THE HASHES"),
        open_pip(PipConfig("pip", "tiny-digits==1.0", "0" * 64, MEMBER)),
    ):
        pass


def test_a_package_that_is_not_there(links: Path) -> None:
    with (
        pytest.raises(SourceUnavailableError, match="ERROR: Could not find a version"),
        open_pip(PipConfig("pip", "tiny-digits==1.0", "0" * 64, MEMBER)),
    ):
        pass


def test_a_wheel_without_the_member(links: Path, tiny: Tiny) -> None:
    digest = sha256_file(write_wheel(links, parts(tiny)))
    with (
        pytest.raises(SourceUnavailableError, match="no item named 'other'"),
        open_pip(PipConfig("pip", "tiny-digits==1.0", digest, "other")),
    ):
        pass


def test_a_wheel_with_an_evil_pickle(links: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'evil'}",)

    digest = sha256_file(write_wheel(links, Evil()))
    with (
        pytest.raises(SourceUnavailableError, match=r"names \w+\.system, which is not an array"),
        open_pip(PipConfig("pip", "tiny-digits==1.0", digest, MEMBER)),
    ):
        pass
    assert not (tmp_path / "evil").exists()
