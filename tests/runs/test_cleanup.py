from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lenet.config.schema import Config
from lenet.core.atomic_io import atomic_write, write_text
from lenet.core.errors import UnreadableError
from lenet.core.file_lock import locked
from lenet.core.project import SWEEP_LOCK, Project
from lenet.doctor.finding import Level
from lenet.doctor.runs import check_runs
from lenet.runs.cleanup import _delete, clean, find_removable
from lenet.runs.fingerprint import fingerprint
from lenet.runs.run_dir import RunDir, all_runs

MakeRun = Callable[[str], RunDir]


@pytest.fixture
def make_run(project: Project, make_config: Callable[..., Config]) -> MakeRun:
    """Write a run folder of some state with checkpoints, weights and a half-written file."""
    count = 0

    def make(state: str) -> RunDir:
        nonlocal count
        count += 1
        config, digests = make_config(), {"data_digest": "d", "code_digest": f"code {count}"}
        folder = RunDir(project.runs / fingerprint(config, *digests.values()))
        body = {"name": f"run {count}", "config": config.tree(), "overrides": [], "sweeps": []}
        folder.write_identity(body | digests)
        folder.write("status.json", {"state": state, "message": "", "attempts": [], "files": {}})
        os.utime(folder.path / "config.yaml", (count, count))
        (folder.path / "checkpoints").mkdir()
        (folder.path / "checkpoints" / "epoch-00001-0123456789abcdef.ckpt").write_bytes(b"x" * 1000)
        (folder.path / "checkpoints" / ".x.ckpt.12.partial").write_bytes(b"x" * 10)
        (folder.path / "weights.safetensors").write_bytes(b"w")
        return folder

    return make


def test_what_can_go_and_what_stays(project: Project, make_run: MakeRun) -> None:
    finished, failed, killed, damaged = (make_run(state) for state in ("FINISHED", "FAILED", "RUNNING", "FINISHED"))
    (damaged.path / "status.json").write_text("{")
    found = {waste.path: waste.reason for waste in find_removable(project)}
    assert found == {
        finished.path / "checkpoints" / ".x.ckpt.12.partial": "partial file",
        finished.path / "checkpoints": f"checkpoints of finished run {finished.short} run 1",
        failed.path: f"failed run {failed.short} run 2",
        killed.path / "checkpoints" / ".x.ckpt.12.partial": "partial file",
        damaged.path: f"damaged run {damaged.short} run 4",
    }
    also = {waste.path: waste.reason for waste in find_removable(project, also_killed=True)}
    assert also[killed.path] == f"killed run {killed.short} run 3"
    assert finished.path not in also


@pytest.mark.parametrize("name", ["run.json", "status.json", "history.json"])
def test_a_run_that_cannot_be_read_now_is_no_waste(
    project: Project, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = make_run("FINISHED")
    folder.write("history.json", {"epochs": []})
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    with monkeypatch.context() as context:
        context.setattr(Path, "read_bytes", fail)
        assert find_removable(project, also_killed=True) == []
        with pytest.raises(UnreadableError, match=rf"{name}: cannot be read \(Input/output error\); see to its rights"):
            folder.check_readable()
        (found,) = check_runs(project)
        assert (found.level, found.text) == (
            Level.PROBLEM,
            f"{folder.short}: {name}: cannot be read (Input/output error)",
        )
    folder.check_readable()
    assert find_removable(project) != []


@pytest.mark.parametrize("state", ["FINISHED", "FAILED", "RUNNING"])
def test_a_run_at_work_is_left_alone(project: Project, make_run: MakeRun, state: str) -> None:
    folder = make_run(state)
    with locked(folder.lock):
        assert find_removable(project, also_killed=True) == []
    assert find_removable(project, also_killed=True) != []


def test_sizes_are_those_of_all_files_within(project: Project, make_run: MakeRun) -> None:
    make_run("FINISHED")
    assert {waste.path.name: waste.size for waste in find_removable(project)} == {
        ".x.ckpt.12.partial": 10,
        "checkpoints": 1010,
    }


def test_ended_sweeps_go_and_others_stay(project: Project) -> None:
    for name in ("ended", "at work"):
        write_text(project.runs / ".sweeps" / name / SWEEP_LOCK, "1")
    with locked(project.runs / ".sweeps" / "at work" / SWEEP_LOCK):
        (waste,) = find_removable(project)
        assert (waste.path.name, waste.reason) == ("ended", "ended sweep")
        clean(project, also_killed=False, is_sure=True)
        assert [path.name for path in waste.path.parent.iterdir()] == ["at work"]


def letters(project: Project) -> Path:
    """A folder of somebody's that lies elsewhere."""
    path = project.root.parent / "letters"
    path.mkdir()
    (path / "dear.txt").write_text("dear")
    return path


def test_nothing_is_deleted_through_a_link(project: Project, make_run: MakeRun, said: list[str]) -> None:
    theirs, finished, failed = letters(project), make_run("FINISHED"), make_run("FAILED")
    (project.runs / ".sweeps").symlink_to(theirs.parent)
    shutil.rmtree(finished.path / "checkpoints")
    (finished.path / "checkpoints").symlink_to(theirs)
    failed.path.rename(theirs / "run")
    failed.path.symlink_to(theirs / "run")
    before = sorted(theirs.rglob("*"))
    clean(project, also_killed=True, is_sure=True)
    assert sorted(theirs.rglob("*")) == before
    assert (theirs / "dear.txt").read_text() == "dear"
    linked = [project.runs / ".sweeps", finished.path / "checkpoints", failed.path]
    for link in linked:
        assert any(line.startswith(f"{link}: is a symbolic link") for line in said), link
    assert said[-1] == "deleted 0"


def test_what_lies_beside_the_runs_is_nobodys_waste(project: Project, make_run: MakeRun) -> None:
    folder = make_run("FAILED")
    shutil.copytree(folder.path, folder.path.with_name(f"{folder.fingerprint}.backup"))
    assert {waste.path for waste in find_removable(project)} == {folder.path}


def test_a_file_that_is_being_written_is_no_waste(project: Project, make_run: MakeRun) -> None:
    folder = make_run("RUNNING")
    with atomic_write(folder.path / "weights.safetensors") as temporary:
        assert temporary not in {waste.path for waste in find_removable(project)}
        temporary.write_bytes(b"w")


def test_it_is_said_first_and_done_when_told_so(
    project: Project, make_run: MakeRun, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    finished, failed = make_run("FINISHED"), make_run("FAILED")
    clean(project, also_killed=False, is_sure=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2] == f"     0.0 MiB  {failed.path}  (failed run {failed.short} run 2)"
    assert all_runs(project) == [finished, failed]
    clean(project, also_killed=False, is_sure=True)
    assert all_runs(project) == [finished]
    assert (finished.path / "weights.safetensors").read_bytes() == b"w"
    assert not (finished.path / "checkpoints").exists()
    clean(project, also_killed=False, is_sure=True)
    assert said == ["nothing is deleted yet: `lenet clean --yes` deletes it", "deleted 3", "nothing to clean"]


@pytest.mark.parametrize("name", ["run.json", "history.json"])
def test_what_is_listed_as_damaged_can_go(project: Project, make_run: MakeRun, name: str) -> None:
    folder = make_run("FINISHED")
    (folder.path / name).write_text("{")
    assert folder.path in {waste.path for waste in find_removable(project)}


def test_a_run_that_somebody_has_been_at_since_is_left(project: Project, make_run: MakeRun, said: list[str]) -> None:
    killed, failed = make_run("RUNNING"), make_run("FAILED")
    first, second = (item for item in find_removable(project, also_killed=True) if item.path.parent == project.runs)
    with locked(failed.lock):
        assert not _delete(project, second)
    killed.write("status.json", {"state": "FINISHED", "message": "", "attempts": [], "files": {}})
    assert not _delete(project, first)
    assert all_runs(project) == [killed, failed]
    assert _delete(project, second)
    assert all_runs(project) == [killed]
    assert not _delete(project, second)  # it is gone


def test_killed_runs_go_when_asked_for(project: Project, make_run: MakeRun, said: list[str]) -> None:
    make_run("RUNNING")
    clean(project, also_killed=True, is_sure=True)
    assert all_runs(project) == []
    assert said == ["deleted 1"]
