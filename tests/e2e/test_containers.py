"""Two containers that share a home: in each the first process has the id 1."""

from __future__ import annotations

import re
import subprocess

import pytest
from shell import SMALL, Shell

CONTAINER = "unshare --pid --fork --mount-proc"
"""What a container does to process ids, without the rest of one."""


def is_allowed() -> bool:
    try:
        return subprocess.run([*CONTAINER.split(), "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.long
@pytest.mark.skipif(not is_allowed(), reason="this user may not have process ids of their own (unshare --pid)")
def test_two_containers_sweep_side_by_side_and_each_shows_its_own_runs(shell: Shell) -> None:
    words = " ".join((*SMALL, "trainer.threads=1"))
    asked = [(1, 2), (3, 4)]
    processes = [
        shell.start(f"{CONTAINER} python train.py -m seed={','.join(map(str, seeds))} {words}") for seeds in asked
    ]
    told = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    for seeds, text in zip(asked, told, strict=True):
        rows = re.findall(r"^[0-9a-f]{12} +(\d+) .* trained", text, re.MULTILINE)
        assert rows == [str(seed) for seed in seeds], text
    assert list((shell.home / "runs" / ".sweeps").iterdir()) == []
    assert len(list(shell.home.glob("runs/*/weights.safetensors"))) == 4
    assert not list(shell.home.rglob("*.partial"))
