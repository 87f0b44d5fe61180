from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from doctored import SECONDS, Sample, flip, lenet

from lenet.core.atomic_io import sha256_file
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.doctor import checks
from lenet.doctor.checks import CHECKS, doctor, run_checks
from lenet.doctor.finding import Finding, Level

SIDECARS = ("-wal", "-shm")
"""SQLite leaves an empty log and its index beside a file that was read."""


def files(root: Path) -> dict[Path, tuple[str, int]]:
    found = [path for path in root.rglob("*") if path.is_file() and not path.name.endswith(SIDECARS)]
    return {path: (sha256_file(path), path.stat().st_mtime_ns) for path in found if ".dvc/tmp" not in str(path)}


def test_sound_project_is_one_ok_a_check_and_stays_unchanged(sample: Sample) -> None:
    before = files(sample.root)
    done = lenet(sample.root, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    *lines, last = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["ok"] * len(CHECKS)
    assert last == "0 problems, 0 warnings"
    assert done.stderr == ""
    assert files(sample.root) == before


def test_problem_sets_the_exit_code_and_json_has_it(sample: Sample) -> None:
    flip(sample.root / "data/prepared/tiny/test/images.npy")
    done = lenet(sample.root, "doctor")
    assert done.returncode == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("problem"))
    assert "test/images.npy → lenet prepare tiny" in line
    done = lenet(sample.root, "doctor", "--json")
    assert done.returncode == 1
    body = json.loads(done.stdout)
    assert (body["problems"], body["warnings"]) == (1, 0)
    assert {entry["check"] for entry in body["findings"]} == set(CHECKS)
    (found,) = (entry for entry in body["findings"] if entry["level"] == "problem")
    assert (found["check"], found["remedy"]) == ("data", "lenet prepare tiny")
    assert "test/images.npy" in found["text"]


def test_warnings_leave_the_exit_code_at_0(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(project, as_json=True)  # an empty project: no pins, no MNIST
    body = json.loads(capsys.readouterr().out)
    assert (body["problems"], body["warnings"]) == (0, 2)
    assert {entry["check"] for entry in body["findings"] if entry["level"] == "warning"} == {"versions", "data"}


def test_neither_torch_nor_mlflow_is_imported(sample: Sample) -> None:
    code = "import atexit, sys; from lenet.cli import main;"
    code += "atexit.register(lambda: print({'torch', 'mlflow', 'optuna'} & set(sys.modules))); main(['doctor'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=sample.root, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_failing_check_is_a_problem_and_the_others_run(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(project: Project) -> list[Finding]:
        raise LenetError("no")

    monkeypatch.setitem(checks.CHECKS, "disk", refuse)
    found = run_checks(sample.project)
    assert list(found) == list(CHECKS)
    (finding,) = found.pop("disk")
    assert (finding.level, finding.text) == (Level.PROBLEM, "the check failed: no")
    assert {finding.level for findings in found.values() for finding in findings} == {Level.OK}
