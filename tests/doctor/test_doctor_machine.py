"""Versions, graphics cards, disk: what the project stands on."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from damage import levels

from lenet.core.project import Project
from lenet.doctor import disk
from lenet.doctor import gpu as graphics
from lenet.doctor.disk import check_disk
from lenet.doctor.finding import Level
from lenet.doctor.gpu import check_graphics
from lenet.doctor.versions import check_versions

REPOSITORY = Path(__file__).parents[2]


def pin(project: Project, *lines: str) -> None:
    (project.root / "constraints.txt").write_text("".join(f"{line}\n" for line in lines))


def ask_for(project: Project, *requirements: str) -> None:
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    (project.root / "pyproject.toml").write_text(f'[project]\nname = "x"\ndependencies = [{listed}]\n')


def test_what_is_installed_is_compared_with_the_pins(project: Project) -> None:
    pin(project, f"numpy=={version('numpy')}", "PyYAML==1.0  # old", "nobody-has-this==1.0")
    (found,) = check_versions(project)
    assert found.level == Level.WARNING
    assert found.text == f"1 package not as constraints.txt pins: PyYAML {version('pyyaml')} (pinned 1.0)"
    assert found.remedy == "make install"


def test_a_local_label_is_no_other_version(project: Project) -> None:
    pin(project, f"torch=={version('torch').partition('+')[0]}")
    assert levels(check_versions(project)) == [Level.OK]


def test_what_pyproject_asks_for_has_to_be_there(project: Project) -> None:
    pin(project, f"numpy=={version('numpy')}")
    ask_for(project, "numpy", "nobody-has-this==1.0", "pyyaml==1.0", "nor-this; python_version < '3'")
    (found,) = check_versions(project)
    assert found.level == Level.PROBLEM
    expected = f"nobody-has-this is not installed, pyyaml {version('pyyaml')} is not ==1.0"
    assert found.text == f"not as pyproject.toml asks: {expected}"


def test_the_projects_own_venv_is_as_it_asks(project: Project) -> None:
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copyfile(REPOSITORY / name, project.root / name)
    assert Level.PROBLEM not in levels(check_versions(project))


def make_devices(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in ("null", "nvidiactl", "nvidia-uvm", *names):
        (folder / name).touch()
    return folder


def make_torch(folder: Path, cuda: str) -> None:
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").touch()
    (folder / "torch" / "version.py").write_text(
        f"from typing import Optional\n__version__ = '2.0'\ncuda: Optional[str] = {cuda}\n"
    )


@pytest.mark.parametrize(
    ("devices", "cuda", "level", "text"),
    [
        ((), "None", Level.OK, "no NVIDIA GPU here"),
        (("nvidia0", "nvidia1"), "None", Level.WARNING, "2 NVIDIA GPUs here, but torch"),
        (("dxg",), "None", Level.WARNING, "1 NVIDIA GPU here, but torch"),
        (("nvidia0",), "'13.0'", Level.OK, "is built for CUDA 13.0"),
    ],
)
def test_a_graphics_card_that_torch_cannot_use(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    devices: tuple[str, ...],
    cuda: str,
    level: Level,
    text: str,
) -> None:
    import sys

    monkeypatch.setattr(graphics, "DEVICES", make_devices(tmp_path / "dev", *devices))
    make_torch(tmp_path / "site", cuda)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "torch", raising=False)  # otherwise the imported one is found
    (found,) = check_graphics(project)
    assert found.level == level
    assert text in found.text
    assert ("pip install" in found.remedy) == (level == Level.WARNING)


@pytest.mark.parametrize(
    ("scarce", "too_little", "level"),
    [(0, 0, Level.OK), (1 << 60, 0, Level.WARNING), (1 << 60, 1 << 60, Level.PROBLEM)],
)
def test_room_on_the_disk(
    project: Project, monkeypatch: pytest.MonkeyPatch, scarce: int, too_little: int, level: Level
) -> None:
    monkeypatch.setattr(disk, "SCARCE_BYTES", scarce)
    monkeypatch.setattr(disk, "TOO_LITTLE_BYTES", too_little)
    found = check_disk(project)
    assert set(levels(found)) == {level}
    assert "GiB free" in found[0].text
    assert ("lenet clean" in found[0].remedy) == (level != Level.OK)
