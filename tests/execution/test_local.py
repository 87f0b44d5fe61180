from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from lenet.config.params import compose_variants, read_params, write_variants
from lenet.config.schema import Config
from lenet.core.atomic_io import read_json
from lenet.core.project import Project
from lenet.execution.local import RunRequest, run_all, share
from lenet.pipeline.stages import train_variant
from lenet.runs.get_or_train import RunMetadata
from lenet.runs.run_dir import RunDir

BEGUN = """
import time
from lenet.execution.local import one_thread_each, process_context

print("begun", flush=True)
try:
    process = process_context().Process(target=int)
    with one_thread_each():
        process.start()  # waits for the server
    process.join()
except KeyboardInterrupt:
    print("stopped")
"""


def wait_until_a_child_imports(pid: int) -> None:
    """Wait until a process has a child that has begun to load torch, with seconds of importing still before it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    while True:
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in children.read_text().split():
                if "libtorch" in Path(f"/proc/{child}/maps").read_text():
                    return
        time.sleep(0.01)


def test_ctrl_c_while_the_processes_server_starts_leaves_no_traceback() -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", BEGUN], **pipes, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    wait_until_a_child_imports(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the command gets it
    told, complaint = process.communicate(timeout=120)
    assert (told, complaint) == ("stopped\n", "")


def test_a_run_that_is_wished_for_twice_is_trained_once(
    project: Project, make_config: Callable[..., Config], said: list[str]
) -> None:
    config = make_config()
    wishes = [RunRequest(config, RunMetadata("first", "a")), RunRequest(config, RunMetadata("second", "b"))]
    first, second = run_all(project, wishes, workers=2, tell=said.append)
    assert (first.answer, second.answer) == ("trained", "already trained")
    assert first.folder == second.folder
    assert len(first.folder.status()["attempts"]) == 1
    assert not [line for line in said if "waiting" in line]
    assert [one.answer for one in run_all(project, wishes, workers=2, tell=said.append)] == ["already trained"] * 2


def test_the_train_stage_trains_with_one_thread_each_and_says_so(project: Project, said: list[str]) -> None:
    path = project.root / "params.yaml"
    tree = yaml.safe_load(path.read_text()) | {"data": "tiny", "variants": ["lenet5", "lenet5_relu"], "seeds": [1, 2]}
    tree["overrides"] = ["trainer.epochs=1", "trainer=cpu", "trainer.threads=2", "trainer.batch_size=50"]
    path.write_text(yaml.safe_dump(tree))
    params = read_params(project)
    write_variants(project, compose_variants(project, params))
    train_variant(project, params, "lenet5", said.append)
    entries = read_json(project.root / "build/train/lenet5/runs.json")["runs"]
    assert [(entry["seed"], entry["threads"]) for entry in entries] == [(1, [1]), (2, [1])]
    for entry in entries:
        (attempt,) = RunDir(project.runs / entry["fingerprint"]).status()["attempts"]
        assert attempt["threads"] == 1
        error = f"{entry['measures']['val/error']:.2f} %"
        assert f"{entry['fingerprint'][:12]}  lenet5 seed={entry['seed']}: validation error {error}" in said


@pytest.mark.parametrize(
    ("slot", "devices", "expected"),
    [(0, 1, ["0"]), (3, 1, ["3"]), (4, 1, ["0"]), (0, 2, ["0", "1"]), (1, 2, ["2", "3"]), (2, 2, ["0", "1"])],
)
def test_processes_share_the_gpus_so_that_no_run_has_one_twice(slot: int, devices: int, expected: list[str]) -> None:
    assert share(["0", "1", "2", "3"], slot, devices) == expected
