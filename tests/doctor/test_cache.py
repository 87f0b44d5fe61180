from __future__ import annotations

from pathlib import Path

import pytest
from doctored import Sample, dvc, flip, levels

from lenet.doctor.cache import cache_folder, check_cache
from lenet.doctor.finding import Level

CACHE = Path(".dvc/cache/files/md5")


@pytest.mark.parametrize("is_folder", [False, True])
def test_flipped_bit_is_found_and_the_remedy_works(sample: Sample, is_folder: bool) -> None:
    path = next(path for path in (sample.root / CACHE).glob("??/*") if path.name.endswith(".dir") == is_folder)
    flip(path)
    path.chmod(0o444)
    if not is_folder:
        assert "up to date" in dvc(sample.root, "status", "kept.dvc").stdout  # DVC does not see it
    (found,) = check_cache(sample.project)
    assert found.level == Level.PROBLEM
    assert found.remedy.startswith(f"rm -f {path}; then ")
    path.unlink()
    assert dvc(sample.root, "commit", "-q", "-f", "kept.dvc").returncode == 0
    assert path.is_file()
    (found,) = check_cache(sample.project)
    assert (found.level, found.text.partition(",")[0]) == (Level.OK, "4 files")


def test_many_damaged_files_point_to_the_disk(sample: Sample) -> None:
    folder = sample.root / CACHE / "ab"
    folder.mkdir(exist_ok=True)
    for number in range(11):
        (folder / f"{number:030x}").write_bytes(b"x")
    (found,) = check_cache(sample.project)
    assert levels([found]) == [Level.PROBLEM]
    assert "disk may be failing" in found.remedy


@pytest.mark.parametrize("folder", ["far", "../near"])
def test_cache_folder_is_the_configured_one(sample: Sample, folder: str) -> None:
    assert cache_folder(sample.project) == sample.root / ".dvc" / "cache"
    path = str(sample.root / folder) if folder == "far" else folder
    assert dvc(sample.root, "config", "--local", "cache.dir", path).returncode == 0
    assert cache_folder(sample.project).resolve() == (sample.root / folder).resolve()
