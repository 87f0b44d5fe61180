"""Whose a file is, and files that are not what they should be: each is said, and none stops the others."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from lenet.config.schema import Config
from lenet.core.atomic_io import canonical_json, read_json, sha256_bytes, sha256_file, write_json
from lenet.core.errors import DamagedError
from lenet.core.project import Project
from lenet.doctor.finding import Level
from lenet.doctor.runs import check_runs
from lenet.evaluation.plots.run import draw_run
from lenet.evaluation.predict import load_network
from lenet.runs.cleanup import clean
from lenet.runs.fingerprint import fingerprint
from lenet.runs.run_dir import RunDir, all_runs
from lenet.runs.table import print_runs, read_row
from lenet.tracking.entities import TrackedRun, evaluation
from lenet.tracking.run_ref import RECORD, MlflowRunRef, SyncRecord, recorded_run_ref, write_record
from lenet.tracking.search_sync import DESCRIPTION, SUMMARY, read_search
from lenet.tracking.sync import find_unsynced

URI = "sqlite:////elsewhere/mlflow.db"
MakeRun = Callable[[int], RunDir]
READERS: dict[str, Callable[[RunDir], Any]] = {
    "run.json": RunDir.identity,
    "config.yaml": RunDir.check_config,
    "status.json": RunDir.status,
    "history.json": RunDir.history,
    "evaluation.json": evaluation,
}


@pytest.fixture
def make_run(project: Project, make_config: Callable[..., Config]) -> MakeRun:
    """Write a finished run's folder, with all of its JSON files."""

    def make(seed: int) -> RunDir:
        config, digests = make_config(seed=seed), {"data_digest": "d", "code_digest": "c"}
        folder = RunDir(project.runs / fingerprint(config, *digests.values()))
        body = {"name": f"tiny seed={seed}", "config": config.tree(), "overrides": [], "sweeps": []}
        folder.write_identity(body | digests)
        attempt: dict[str, Any] = {"started": 1.0, "ended": 2.0, "device": "cpu", "host": "h", "user": "u"}
        attempt |= {"git": {"commit": None, "dirty": None}, "versions": {}}
        folder.write("history.json", {"epochs": [{"epoch": 1, "val/error": 2.5, "seconds": 1.0}]})
        files = {"history.json": sha256_file(folder.path / "history.json")}
        folder.write("status.json", {"state": "FINISHED", "message": "", "attempts": [attempt], "files": files})
        told = {"test_digest": "t", "measures": {"test/error": float(seed)}, "interval": [0.5, 1.5], "evaluated": 3.0}
        folder.write("evaluation.json", told)
        write_record(folder.path, URI, SyncRecord("1", f"run {seed}"))
        return folder

    return make


@pytest.mark.parametrize("name", READERS)
def test_another_runs_file_is_refused(make_run: MakeRun, name: str) -> None:
    one, other = make_run(1), make_run(2)
    READERS[name](one)
    shutil.copyfile(other.path / name, one.path / name)
    with pytest.raises(DamagedError, match=name):
        READERS[name](one)
    with pytest.raises(DamagedError):
        TrackedRun(one).content()


def test_where_another_run_is_shown_is_not_where_this_one_is(make_run: MakeRun) -> None:
    one, other = make_run(1), make_run(2)
    assert recorded_run_ref(one, URI) == MlflowRunRef(URI, "1", "run 1")
    shutil.copyfile(other.path / RECORD, one.path / RECORD)
    assert recorded_run_ref(one, URI) is None


@pytest.mark.parametrize("key", ["seed", "epochs", "learning_rate", "data_digest", "code_digest"])
def test_a_question_that_is_not_the_fingerprints_is_refused(make_run: MakeRun, key: str) -> None:
    folder = make_run(1)
    body = folder.identity()
    if key in body:
        body[key] = "x"
    else:
        group = {"seed": "", "epochs": "trainer", "learning_rate": "optimizer"}[key]
        (body["config"][group] if group else body["config"])[key] = 7
    write_json(folder.path / "run.json", body)  # rightly sealed, the right fingerprint written in it
    with pytest.raises(DamagedError, match="another than this"):
        folder.identity()


def test_labels_and_where_it_is_shown_are_no_part_of_the_fingerprint(make_run: MakeRun) -> None:
    folder = make_run(1)
    body = folder.identity()
    body["config"] |= {"name": "other", "tracking": {"uri": URI, "experiment": "paper"}}
    folder.write("run.json", body)
    assert folder.identity()["config"]["name"] == "other"


DEEP = "[" * 100_000
CONTENTS: dict[str, str] = {
    "deep": f'{{"a": {DEEP}',
    "infinite": '{"a": 1e999, "sha256": "0"}',
    "lone surrogate": '{"a": "\\ud800", "sha256": "0"}',
    "many digits": f'{{"a": {"9" * 5000}, "sha256": "0"}}',
    "empty object": json.dumps({"sha256": sha256_bytes(canonical_json({}).encode())}),
    "list": "[]",
    "null": "null",
    "nothing": "",
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", [name for name in READERS if name.endswith(".json")])
def test_a_damaged_file_is_said_and_the_others_are_shown(
    project: Project,
    make_run: MakeRun,
    name: str,
    content: str,
    said: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad, good = make_run(1), make_run(2)
    (bad.path / name).write_text(CONTENTS[content])
    with pytest.raises(DamagedError, match=name):
        READERS[name](bad)
    print_runs(project, [])
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert ("DAMAGED" in rows[bad.short]) == (name != "evaluation.json")
    assert "FINISHED" in rows[good.short]
    unsynced, failures = find_unsynced(project)
    assert [one.tracked for one in unsynced] == [TrackedRun(good)]
    assert [one.tracked for one in failures] == [TrackedRun(bad)]
    (found,) = check_runs(project)
    assert found.level == Level.PROBLEM
    assert found.text.startswith(f"{bad.short}: {name}: ")
    clean(project, also_killed=False, is_sure=True)
    assert all_runs(project) == ([bad, good] if name == "evaluation.json" else [good])


def test_a_folder_in_a_files_place_is_damage(make_run: MakeRun) -> None:
    folder = make_run(1)
    (folder.path / "status.json").unlink()
    (folder.path / "status.json").mkdir()
    assert read_row(folder).state == "DAMAGED"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state", 3),
        ("attempts", [3]),
        ("attempts", [{"started": 1.0}]),
        ("attempts", {}),
        ("files", []),
        ("files", {"weights.safetensors": None}),
        ("message", None),
    ],
)
def test_a_status_of_another_form_is_damage(make_run: MakeRun, key: str, value: Any) -> None:
    folder = make_run(1)
    folder.write("status.json", folder.status() | {key: value})
    with pytest.raises(DamagedError, match=rf"status\.json: is not what lenet writes there \({key}"):
        folder.status()


@pytest.mark.parametrize("name", [DESCRIPTION, SUMMARY])
def test_another_searchs_file_is_refused(project: Project, name: str) -> None:
    body: dict[str, Any] = {
        "tracking": {"uri": None, "experiment": "lenet5"},
        "objectives": ["val/error"],
        "sampler": "tpe",
        "pruner": "none",
        "epochs": 1,
        "space": {},
        "trials": {"all": 1},
        "is_over": True,
        "best": None,
        "history": [],
        "stores": {},
    }
    folders = [project.home / "searches" / study for study in ("a-1", "b-2")]
    for folder in folders:
        write_json(folder / name, body | {"study": folder.name})
        assert read_search(folder, name)["study"] == folder.name
    shutil.copyfile(folders[1] / name, folders[0] / name)
    with pytest.raises(DamagedError, match=rf"{name}: is another's \(its study is b-2, not a-1\)"):
        read_search(folders[0], name)


@pytest.mark.parametrize("tensors", [{}, {"network.c1.0.weight": np.zeros((2, 2), dtype=np.float32)}])
def test_weights_of_another_network_under_a_right_digest(
    make_run: MakeRun, project: Project, make_config: Callable[..., Config], tensors: dict[str, Any]
) -> None:
    folder = make_run(1)
    path = folder.path / "weights.safetensors"
    save_file(tensors, path)
    with pytest.raises(DamagedError, match=r"weights\.safetensors: holds no weights of this run's network"):
        load_network(make_config(), path, sha256_file(path))
    with pytest.raises(DamagedError, match=r"status\.json: lists no weights\.safetensors"):
        draw_run(folder, project)


def test_json_that_is_deeper_than_pythons_stack_is_one_line(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    (tmp_path / "a.json").write_text(f'{{"a": {"[" * sys.getrecursionlimit()}{"]" * sys.getrecursionlimit()}}}')
    with pytest.raises(DamagedError):
        read_json(tmp_path / "a.json")
