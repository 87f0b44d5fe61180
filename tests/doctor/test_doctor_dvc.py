"""DVC's cache and its lock file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from damage import NEVER_A_PROCESS, flip, levels
from house import House

from lenet.doctor.cache import cache_folder, check_cache
from lenet.doctor.dvc_locks import check_dvc_locks
from lenet.doctor.finding import Finding, Level

CACHE = Path(".dvc/cache/files/md5")


def dvc(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )


def cached(house: House, is_folder: bool) -> Path:
    found = [path for path in (house.root / CACHE).glob("??/*") if path.name.endswith(".dir") == is_folder]
    assert found
    return found[0]


def test_a_whole_cache(house: House) -> None:
    (found,) = check_cache(house.project)
    assert found.level == Level.OK
    assert found.text.startswith("4 files of DVC's cache")


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_flipped_bit_that_dvc_does_not_see_and_the_remedy(house: House, is_folder: bool) -> None:
    path = cached(house, is_folder)
    flip(path)
    path.chmod(0o444)
    if not is_folder:
        assert "up to date" in dvc(house.root, "status", "kept.dvc").stdout
    (found,) = check_cache(house.project)
    assert found.level == Level.PROBLEM
    assert found.text.startswith("1 file of DVC's cache damaged: ")
    assert found.remedy.startswith(f"rm -f {path}; then ")
    path.unlink()
    assert dvc(house.root, "commit", "-q", "-f", "kept.dvc").returncode == 0
    assert levels(check_cache(house.project)) == [Level.OK]
    assert path.is_file()


def test_many_damaged_files_are_no_accident(house: House) -> None:
    folder = house.root / CACHE / "ab"
    folder.mkdir(exist_ok=True)
    for number in range(11):
        (folder / f"{number:030x}").write_bytes(b"x")
    (found,) = check_cache(house.project)
    assert "and 8 more" in found.text
    assert "the disk may be failing" in found.remedy


def test_the_cache_is_where_dvc_has_it(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobodys"))
    assert cache_folder(house.project) == house.root / ".dvc" / "cache"
    for words, expected in (
        (("--local", "cache.dir", str(tmp_path / "far")), tmp_path / "far"),
        (("--local", "cache.dir", "../near"), house.root.parent / "near"),
    ):
        assert dvc(house.root, "config", *words).returncode == 0
        assert cache_folder(house.project).resolve() == expected.resolve()
        assert dvc(house.root, "cache", "dir").stdout.strip() == str(expected)


def test_a_lock_file_that_was_cut_off(house: House) -> None:
    path = house.root / ".dvc/tmp/rwlock"
    path.write_text('{"write": {"/data": {"pid": 12')
    assert "corrupted" in dvc(house.root, "add", "kept").stderr
    (found,) = check_dvc_locks(house.project)
    assert found.level == Level.PROBLEM
    assert found.remedy == "when no dvc is at work: rm .dvc/tmp/rwlock"
    path.unlink()
    assert levels(check_dvc_locks(house.project)) == [Level.OK]


@pytest.mark.parametrize("content", ["", "[]", '{"write": {"/a": 3}}', '{"read": {"/a": [{"cmd": "x"}]}}'])
def test_a_lock_file_that_dvc_cannot_read(house: House, content: str) -> None:
    (house.root / ".dvc/tmp/rwlock").write_text(content)
    assert levels(check_dvc_locks(house.project)) == [Level.PROBLEM]


def held_by(house: House, pid: int) -> Finding:
    holder = {"pid": pid, "cmd": "dvc repro"}
    lock = {"write": {"/data": holder}, "read": {"/raw": [holder]}}
    (house.root / ".dvc/tmp/rwlock").write_text(json.dumps(lock))
    (found,) = check_dvc_locks(house.project)
    return found


def test_a_lock_file_that_names_a_dead_process(house: House) -> None:
    found = held_by(house, NEVER_A_PROCESS)
    assert found.level == Level.WARNING
    assert str(NEVER_A_PROCESS) in found.text
    found = held_by(house, os.getpid())
    assert (found.level, found.text) == (Level.OK, f"held by living processes: {os.getpid()}")
