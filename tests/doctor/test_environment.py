from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from doctored import levels

from lenet.core.project import Project
from lenet.doctor import disk, environment
from lenet.doctor.disk import check_disk
from lenet.doctor.environment import check_gpu, check_versions
from lenet.doctor.finding import Level

REPOSITORY = Path(__file__).parents[2]


def pin(project: Project, *lines: str) -> None:
    (project.root / "constraints.txt").write_text("".join(f"{line}\n" for line in lines))


def require(project: Project, *requirements: str, python: str = ">=3.11") -> None:
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    text = f'[project]\nname = "x"\nrequires-python = "{python}"\ndependencies = [{listed}]\n'
    (project.root / "pyproject.toml").write_text(text)


def test_versions_are_compared_with_the_pins(project: Project) -> None:
    pin(project, f"torch=={version('torch').partition('+')[0]}", "PyYAML==1.0  # old", "not-installed==1.0")
    (found,) = check_versions(project)
    assert (found.level, found.remedy) == (Level.WARNING, "make install")
    assert f"1 package not as constraints.txt pins: PyYAML {version('pyyaml')} (pinned 1.0)" in found.text


def test_unmet_requirements_are_a_problem(project: Project) -> None:
    pin(project, f"numpy=={version('numpy')}")
    require(project, "numpy", "not-installed==1.0", "pyyaml==1.0", "nor-this; python_version < '3'", python=">=9")
    (found,) = check_versions(project)
    assert found.level == Level.PROBLEM
    assert all(name in found.text for name in ("Python 3", "not-installed", "pyyaml"))
    assert "nor-this" not in found.text


def test_own_environment_meets_its_requirements(project: Project) -> None:
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copyfile(REPOSITORY / name, project.root / name)
    assert Level.PROBLEM not in levels(check_versions(project))


@pytest.mark.parametrize(
    ("devices", "is_available", "level"),
    [((), False, Level.OK), (("nvidia0", "nvidia1"), False, Level.WARNING), (("nvidia0",), True, Level.OK)],
)
def test_gpus_that_torch_cannot_use(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    devices: tuple[str, ...],
    is_available: bool,
    level: Level,
) -> None:
    (tmp_path / "dev").mkdir()
    for name in ("null", "nvidiactl", "nvidia-uvm", *devices):
        (tmp_path / "dev" / name).touch()
    monkeypatch.setattr(environment, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_available)
    (found,) = check_gpu(project)
    assert found.level == level
    if devices:
        assert found.text.startswith(f"{len(devices)} NVIDIA GPU")


@pytest.mark.parametrize(
    ("scarce", "too_little", "level"),
    [(0, 0, Level.OK), (1 << 60, 0, Level.WARNING), (1 << 60, 1 << 60, Level.PROBLEM)],
)
def test_free_space(
    project: Project, monkeypatch: pytest.MonkeyPatch, scarce: int, too_little: int, level: Level
) -> None:
    monkeypatch.setattr(disk, "SCARCE_BYTES", scarce)
    monkeypatch.setattr(disk, "TOO_LITTLE_BYTES", too_little)
    found = check_disk(project)
    assert set(levels(found)) == {level}
    assert ("lenet clean" in found[0].remedy) == (level != Level.OK)
