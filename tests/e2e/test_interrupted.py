"""Killed in the middle, asked again: the same run goes on to the same weights; what was damaged since is healed."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from mishaps import ASK, EVERY_EPOCH_ONCE, PATIENCE_SECONDS, flip, query, wait_for_epoch, wait_until
from shell import Shell

AT_ONCE = f"{ASK.replace('train.py', 'train.py -m')} seed=2,1"
SWEEP = f"{AT_ONCE} hydra.launcher.workers=1"  # one run after the other


def weights(home: Path) -> bytes:
    (path,) = home.glob("runs/*/weights.safetensors")
    return path.read_bytes()


@pytest.fixture(scope="module")
def undisturbed(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a run that nothing disturbed."""
    shell = Shell(project_root, tmp_path_factory.mktemp("undisturbed"))
    shell.run(ASK)
    return weights(shell.home)


def test_killed_in_every_way_it_goes_on_in_the_same_run_to_the_same_weights(shell: Shell, undisturbed: bytes) -> None:
    for epoch, signum, code in ((1, signal.SIGTERM, 143), (2, signal.SIGINT, 130), (3, signal.SIGKILL, -9)):
        process = shell.start(ASK)
        wait_for_epoch(shell, epoch, process)
        process.send_signal(signum)
        assert process.wait(PATIENCE_SECONDS) == code
        assert "KILLED" in shell.run("lenet runs").stdout
        if signum == signal.SIGKILL:  # the others leave time to tell MLflow
            shell.run("lenet sync")
        assert query(shell.home, "select status from runs") == [("KILLED",)]
    newest = max(shell.home.glob("runs/*/checkpoints/*.ckpt"))
    flip(newest)  # costs an epoch, not the run
    done = shell.run(ASK)
    assert newest.name in done.stderr
    assert "resumed after epoch" in done.stdout
    assert weights(shell.home) == undisturbed
    assert query(shell.home, "select status from runs") == [("FINISHED",)]
    points = query(shell.home, "select step, count(*) from metrics where key = 'val/error' group by step")
    assert points == EVERY_EPOCH_ONCE


@pytest.mark.long
def test_a_sweep_that_is_stopped_goes_on_in_all_of_its_runs(shell: Shell, undisturbed: bytes) -> None:
    for epoch, signum, code in ((1, signal.SIGINT, 130), (3, signal.SIGTERM, 143)):
        process = shell.start(f"{AT_ONCE} hydra.launcher.workers=2")
        pattern = f"runs/*/checkpoints/epoch-{epoch:05d}-*.ckpt"
        wait_until(lambda pattern=pattern: len(list(shell.home.glob(pattern))) == 2, process)
        process.send_signal(signum)  # not to its workers, as a terminal would
        assert process.wait(PATIENCE_SECONDS) == code
        assert shell.run("lenet runs").stdout.count("KILLED") == 2
    told = answers(shell.run(AT_ONCE).stdout)
    assert all(state.startswith("resumed after epoch") for _, state in told)
    (second,) = shell.home.glob(f"runs/{told[1][0]}*/weights.safetensors")
    assert second.read_bytes() == undisturbed


@dataclass(frozen=True)
class Swept:
    """A sweep of two that was killed in its second run and asked for again.

    Attributes:
        shell: where it was typed.
        states: how each run was answered the second time.
        runs: the folders of its runs, in its order.
    """

    shell: Shell
    states: list[str]
    runs: list[Path]

    def ask(self) -> subprocess.CompletedProcess[str]:
        return self.shell.run(SWEEP)

    def weights(self) -> list[bytes]:
        return [(run / "weights.safetensors").read_bytes() for run in self.runs]


def answers(stdout: str) -> list[tuple[str, str]]:
    """The start of each run's fingerprint in a sweep's table, and how it was answered."""
    rows = [line.split(maxsplit=5) for line in stdout.splitlines()[1:3]]
    return [(row[0], row[5].strip()) for row in rows]


@pytest.fixture(scope="module")
def swept(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    shell = Shell(project_root, tmp_path_factory.mktemp("swept"))

    def is_second_under_way() -> bool:
        ended = {path.parent for path in shell.home.glob("runs/*/status.json") if '"FINISHED"' in path.read_text()}
        kept = {path.parent.parent for path in shell.home.glob("runs/*/checkpoints/epoch-*.ckpt")}
        return bool(ended and kept - ended)

    process = shell.start(SWEEP)
    wait_until(is_second_under_way, process)
    process.kill()
    process.wait()
    told = answers(shell.run(SWEEP).stdout)
    runs = [run for start, _ in told for run in shell.home.glob(f"runs/{start}*")]
    return Swept(shell, [state for _, state in told], runs)


@pytest.mark.long
def test_killed_sweep_trains_what_is_missing(swept: Swept, undisturbed: bytes) -> None:
    first, second = swept.states
    assert first == "already trained"
    assert second.startswith("resumed after epoch")
    assert swept.weights()[1] == undisturbed


@pytest.mark.long
def test_flipped_bits_in_finished_runs_are_noticed_and_healed(swept: Swept) -> None:
    before = swept.weights()
    damaged = [swept.runs[0] / "weights.safetensors", swept.runs[1] / "status.json"]  # test_runs.py flips the others
    for path in damaged:
        flip(path)
    healed = swept.ask()
    assert all(str(path) in healed.stderr for path in damaged)
    assert [state for _, state in answers(healed.stdout)] == ["trained", "trained"]
    assert swept.weights() == before
    assert swept.ask().stdout.count("already trained") == 2


@pytest.mark.long
def test_lost_database_is_filled_again(swept: Swept) -> None:
    home = swept.shell.home
    for path in home.glob("mlflow.db*"):
        path.unlink()
    assert swept.ask().stdout.count("already trained") == 2
    assert query(home, "select status from runs") == [("FINISHED",), ("FINISHED",)]
    points = query(home, "select step, count(*) from metrics where key = 'val/error' group by run_uuid, step")
    assert sorted(points) == sorted(EVERY_EPOCH_ONCE * 2)
