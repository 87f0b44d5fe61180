from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lenet.runs.run_environment import git_state


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("train.py", "dvc.lock", "results/report.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before\n")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "a commit"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_the_commit_alone(checkout: Path) -> None:
    found = git_state(checkout)
    assert len(found["commit"]) == 40
    assert found["dirty"] is False


def test_what_the_pipeline_writes_is_no_change(checkout: Path) -> None:
    (checkout / "results" / "report.md").unlink()
    (checkout / "dvc.lock").write_text("after\n")
    assert git_state(checkout)["dirty"] is False


def test_any_other_tracked_file_is(checkout: Path) -> None:
    (checkout / "train.py").write_text("after\n")
    assert git_state(checkout)["dirty"] is True
    assert git_state(checkout / "results")["dirty"] is True


def test_outside_of_git(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": None, "dirty": None}
