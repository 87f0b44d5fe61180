"""The whole checkup: a healthy house, its lines and its JSON, and that nothing is changed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from damage import flip
from house import SECONDS, House, lenet

from lenet.core.atomic_io import sha256_file
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.doctor import run_checks as checkup
from lenet.doctor.finding import Finding, Level, ok
from lenet.doctor.run_checks import CHECKS, doctor, examine

SIDECARS = ("-wal", "-shm")
"""SQLite leaves an empty log and its index beside a file that was read."""


def files(root: Path) -> dict[Path, tuple[str, int]]:
    found = [path for path in root.rglob("*") if path.is_file() and not path.name.endswith(SIDECARS)]
    return {path: (sha256_file(path), path.stat().st_mtime_ns) for path in found}


def test_a_healthy_house_is_a_line_a_check_and_stays_as_it_is(house: House) -> None:
    before = files(house.root)
    done = lenet(house.root, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["ok"] * len(CHECKS)
    assert [name for name in CHECKS if name not in done.stdout] == []
    assert last == "0 problems, 0 warnings"
    assert done.stderr == ""
    assert files(house.root) == before


def test_a_problem_says_what_to_do_and_makes_the_exit_code_1(house: House) -> None:
    flip(house.root / "data/prepared/tiny/test/images.npy")
    done = lenet(house.root, "doctor")
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("problem"))
    assert line.split() == [
        *("problem", "data", "data/prepared/tiny:", "damaged", "or", "missing", "arrays:", "test/images.npy"),
        *("→", "lenet", "prepare", "tiny"),
    ]


def test_a_warning_leaves_the_exit_code_at_0(house: House) -> None:
    (house.root / "constraints.txt").unlink()
    done = lenet(house.root, "doctor")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "0 problems, 1 warning"


def test_json_is_for_programs(house: House) -> None:
    flip(house.root / "data/raw/tiny/train_labels")
    done = lenet(house.root, "doctor", "--json")
    assert done.returncode == 1
    body = json.loads(done.stdout)
    assert (body["problems"], body["warnings"]) == (1, 0)
    assert {entry["check"] for entry in body["findings"]} == set(CHECKS)
    (found,) = (entry for entry in body["findings"] if entry["level"] == "problem")
    assert found == {
        "check": "data",
        "level": "problem",
        "text": "data/raw/tiny: damaged or other files: train_labels",
        "remedy": "lenet fetch tiny",
    }


def test_neither_torch_nor_mlflow_is_imported(house: House) -> None:
    code = "import atexit, sys; from lenet.cli import main;"
    code += "atexit.register(lambda: print({'torch', 'mlflow', 'optuna'} & set(sys.modules))); main(['doctor'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=house.root, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_check_that_cannot_be_done_is_a_problem_and_the_others_are_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(project: Project) -> list[Finding]:
        raise LenetError("no")

    monkeypatch.setitem(checkup.CHECKS, "disk", refuse)
    found = examine(house.project)
    assert list(found) == list(CHECKS)
    (finding,) = found.pop("disk")
    assert (finding.level, finding.text) == (Level.PROBLEM, "could not be checked: no")
    assert {finding.level for findings in found.values() for finding in findings} == {Level.OK}


def test_an_empty_project_has_no_problems(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(project, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("warning")] == [
        line for line in lines if "constraints.txt is missing" in line or "mnist is not here yet" in line
    ]
    assert lines[-1] == "0 problems, 2 warnings"


@pytest.mark.parametrize(("patience", "is_shown"), [(0.0, True), (60.0, False)])
def test_a_terminal_sees_what_takes_long(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    patience: float,
    is_shown: bool,
) -> None:
    def dawdle(project: Project) -> list[Finding]:
        time.sleep(0.5)
        return [ok("at last")]

    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes what is captured for a terminal then
    monkeypatch.setattr(checkup, "PATIENCE_SECONDS", patience)
    monkeypatch.setitem(checkup.CHECKS, "disk", dawdle)
    assert doctor(project, as_json=True)
    shown = capsys.readouterr()
    assert ("disk" in shown.err) == is_shown
    assert json.loads(shown.out)["problems"] == 0
