from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lenet.core.errors import ConfigError, LenetError
from lenet.core.project import Project, find_project


def test_from_a_folder_below_the_root(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_project(project.root / "conf" / "data") == project
    assert find_project(project.root) == project
    monkeypatch.chdir(project.root / "data")
    assert find_project() == project


def test_places(project: Project) -> None:
    assert project.conf == project.root / "conf"
    assert project.runs == project.home / "runs"
    assert project.raw("tiny") == project.root / "data" / "raw" / "tiny"
    assert project.prepared("tiny") == project.root / "data" / "prepared" / "tiny"


@pytest.mark.parametrize("sweep_id", ["..", "../../x", "/x", "", "a" * 31, "A" * 32])
def test_a_sweeps_folder_is_named_by_an_id_that_lenet_drew(project: Project, sweep_id: str) -> None:
    assert project.sweep("0f" * 16) == project.runs / ".sweeps" / ("0f" * 16)
    with pytest.raises(ConfigError, match="leave it out"):
        project.sweep(sweep_id)


def test_outside_of_a_project_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(LenetError, match=r"no folder above has conf/config\.yaml, params\.yaml, dvc\.yaml\); cd into"):
        find_project(tmp_path)


@pytest.mark.parametrize("marker", ["conf/config.yaml", "params.yaml", "dvc.yaml"])
def test_all_markers_are_needed(project: Project, marker: str) -> None:
    (project.root / marker).unlink()
    with pytest.raises(LenetError, match="not inside a LeNet Lab project"):
        find_project(project.root)


def test_the_home_can_be_named(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LENET_HOME", str(tmp_path / "elsewhere"))
    found = find_project(project.root)
    assert (found.root, found.home) == (project.root, tmp_path / "elsewhere")
    assert found.runs == tmp_path / "elsewhere" / "runs"
    monkeypatch.setenv("LENET_HOME", "")
    assert find_project(project.root).home == project.root


def test_a_copy_for_a_dvc_experiment_has_the_home_of_its_project(project: Project) -> None:
    copy = project.root / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    (copy / "conf").mkdir(parents=True)
    for name in ("conf/config.yaml", "params.yaml", "dvc.yaml"):
        shutil.copyfile(project.root / name, copy / name)
    found = find_project(copy / "conf")
    assert (found.root, found.home) == (copy, project.root)
    assert found.is_experiment
    assert not project.is_experiment


def test_an_experiment_changes_its_workspace_alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.refuse_experiment("lenet promote")
    monkeypatch.setenv("DVC_EXP_NAME", "sunny-otter")  # what DVC sets for the stages of any experiment
    with pytest.raises(LenetError, match=r"^lenet promote: not in a DVC experiment; run `dvc exp apply`"):
        project.refuse_experiment("lenet promote")


def test_a_project_within_another_is_its_own(project: Project) -> None:
    inner = project.root / "vendor" / "fork"
    (inner / "conf").mkdir(parents=True)
    for name in ("conf/config.yaml", "params.yaml", "dvc.yaml"):
        shutil.copyfile(project.root / name, inner / name)
    assert find_project(inner) == Project(root=inner, home=inner)
