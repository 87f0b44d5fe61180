from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from lenet.core.atomic_io import sha256_bytes
from lenet.core.errors import DamagedError
from lenet.training.checkpoint import KEPT, NAME, DurableCheckpoints, newest_checkpoint

RUN = "f" * 64


def checkpoint(epoch: int) -> dict[str, Any]:
    return {"history": [{"epoch": number} for number in range(epoch)], "weights": torch.full((3,), float(epoch))}


def save(folder: Path, *epochs: int) -> list[Path]:
    checkpoints = DurableCheckpoints(folder, 0.0, RUN)
    for epoch in epochs:
        checkpoints.save_checkpoint(checkpoint(epoch), "ignored")
        checkpoints.flush()
    return sorted(folder.glob("*.ckpt"))


def test_the_newest_comes_back(tmp_path: Path, said: list[str]) -> None:
    save(tmp_path, 1, 2)
    newest = newest_checkpoint(tmp_path, RUN)
    assert newest is not None
    found = DurableCheckpoints(tmp_path, 0.0, RUN).load_checkpoint(newest)
    assert found["history"] == [{"epoch": 0}, {"epoch": 1}]
    assert found["weights"].tolist() == [2.0] * 3
    assert said == []


def test_names_carry_epoch_and_digest(tmp_path: Path) -> None:
    (path,) = save(tmp_path, 12)
    match = NAME.fullmatch(path.name)
    assert match is not None
    assert match[1] == "00012"
    assert sha256_bytes(RUN.encode() + path.read_bytes()).startswith(match[2])


def test_two_are_kept(tmp_path: Path) -> None:
    assert KEPT == 2
    kept = save(tmp_path, 1, 2, 3, 4)
    assert [path.name[:11] for path in kept] == ["epoch-00003", "epoch-00004"]


def test_the_order_is_that_of_epochs_and_not_of_names(tmp_path: Path, said: list[str]) -> None:
    content = b"x"
    digest = sha256_bytes(RUN.encode() + content)[:16]
    for epoch in ("99999", "100000"):
        (tmp_path / f"epoch-{epoch}-{digest}.ckpt").write_bytes(content)
    newest = newest_checkpoint(tmp_path, RUN)
    assert newest is not None
    assert newest.name.startswith("epoch-100000-")


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_newest_costs_an_epoch_and_is_told(tmp_path: Path, said: list[str], damage: str) -> None:
    before, newest = save(tmp_path, 1, 2)
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    else:
        content = content[: len(content) - 1] if damage == "truncate" else bytearray()
    newest.write_bytes(content)
    assert newest_checkpoint(tmp_path, RUN) == before
    assert len(said) == 1
    assert said[0].startswith(f"{newest}: is damaged or another run's, it does not fit the sha256 in its name")


def test_another_runs_checkpoint_is_passed_over(tmp_path: Path, said: list[str]) -> None:
    (path,) = save(tmp_path, 1)
    assert newest_checkpoint(tmp_path, "e" * 64) is None
    assert said == [
        f"{path}: is damaged or another run's, it does not fit the sha256 in its name; resuming from the one before"
    ]


def test_all_damaged_is_none(tmp_path: Path, said: list[str]) -> None:
    for path in save(tmp_path, 1, 2):
        path.write_bytes(b"damaged")
    assert newest_checkpoint(tmp_path, RUN) is None
    assert len(said) == 2


def test_nothing_and_foreign_files_are_none(tmp_path: Path, said: list[str]) -> None:
    assert newest_checkpoint(tmp_path / "none", RUN) is None
    for name in ("last.ckpt", "epoch-1-abc.ckpt", ".epoch-00001-0123456789abcdef.ckpt.12.partial"):
        (tmp_path / name).write_bytes(b"x")
    assert newest_checkpoint(tmp_path, RUN) is None
    assert said == []


def test_nothing_is_written_before_flush_and_flush_writes_once(tmp_path: Path) -> None:
    checkpoints = DurableCheckpoints(tmp_path, 0.0, RUN)
    checkpoints.flush()
    checkpoints.save_checkpoint(checkpoint(1), "ignored")
    assert list(tmp_path.iterdir()) == []
    checkpoints.flush()
    (path,) = tmp_path.iterdir()
    path.unlink()
    checkpoints.flush()
    assert list(tmp_path.iterdir()) == []


def test_due_after_so_many_seconds(tmp_path: Path) -> None:
    assert DurableCheckpoints(tmp_path, 0.0, RUN).is_due
    checkpoints = DurableCheckpoints(tmp_path, 1000.0, RUN)
    assert not checkpoints.is_due
    checkpoints.save_checkpoint(checkpoint(1), "ignored")
    assert not checkpoints.is_due


def test_what_is_taken_does_not_change_with_the_weights(tmp_path: Path, said: list[str]) -> None:
    checkpoints, body = DurableCheckpoints(tmp_path, 0.0, RUN), checkpoint(1)
    checkpoints.save_checkpoint(body, "ignored")
    body["weights"].zero_()
    checkpoints.flush()
    newest = newest_checkpoint(tmp_path, RUN)
    assert checkpoints.load_checkpoint(newest)["weights"].tolist() == [1.0] * 3


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("weights_only", [None, False, True])
def test_nothing_in_a_checkpoint_can_run(tmp_path: Path, weights_only: bool | None) -> None:
    path, trap = tmp_path / "evil.ckpt", tmp_path / "trapped"
    torch.save({"history": Trap(trap)}, path)
    with pytest.raises(DamagedError, match=r"evil.ckpt: is no checkpoint"):
        DurableCheckpoints(tmp_path, 0.0, RUN).load_checkpoint(path, weights_only=weights_only)
    assert not trap.exists()
    torch.load(path, weights_only=False)  # the trap is one
    assert trap.exists()


def test_removing_what_is_not_there(tmp_path: Path) -> None:
    (path,) = save(tmp_path, 1)
    checkpoints = DurableCheckpoints(tmp_path, 0.0, RUN)
    checkpoints.remove_checkpoint(path)
    checkpoints.remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == []
