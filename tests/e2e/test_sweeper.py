"""`python train.py -m hydra/sweeper=optuna`: a sweep that is a search, killed, resumed, joined."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from shell import Shell

TRIALS = 4
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
SMALL = f"data.train_size=1000 trainer.epochs=1 hydra.sweeper.n_trials={TRIALS} hydra.sweeper.n_jobs=2"
SWEEP = f"python train.py -m hydra/sweeper=optuna {RATE} model.activation=tanh,relu {SMALL}"
TYPED = SWEEP.replace(RATE, f"'{RATE}'")
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 120


def states(home: Path) -> list[str]:
    database = home / "searches" / "optuna.db"
    if not database.is_file():
        return []
    try:
        with closing(sqlite3.connect(database)) as connection:
            return [state for (state,) in connection.execute("select state from trials order by number")]
    except sqlite3.OperationalError:  # it is being created
        return []


def table(text: str) -> list[list[str]]:
    """The rows below the headings: run, activation, rate, error, epochs, seconds, state."""
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["run", "model.activation", "optimizer.learning_rate"]
    return [line.split(maxsplit=6) for line in lines[1 : lines.index(next(x for x in lines if "compare:" in x))]]


def test_a_sweep_is_a_search_with_a_table_and_is_there_at_once_when_run_again(shell: Shell) -> None:
    done = shell.run(TYPED)
    rows = table(done.stdout)
    assert states(shell.home) == ["COMPLETE"] * TRIALS
    assert {row[1] for row in rows} <= {"tanh", "relu"}
    assert len({row[2] for row in rows}) == TRIALS
    assert all(1e-4 <= float(row[2]) <= 1e-1 for row in rows)
    linked = re.search(r"run_id%20IN(\S+?)&", done.stdout)
    assert linked is not None
    assert len(re.findall(r"%27(\w{32})%27", linked[1])) == TRIALS
    assert not list(shell.home.glob("runs/.sweeps/*"))
    (folder,) = shell.home.glob("searches/sweep-*/summary.json")
    assert (folder.parent / "search.html").is_file()

    best = min(rows, key=lambda row: float(row[3]))
    command = re.search(r"train it: (python train.py .*)$", done.stderr, re.MULTILINE)
    assert command is not None
    (trained,) = [line for line in shell.run(command[1]).stdout.splitlines() if line.startswith(best[0])]
    assert trained.rstrip().endswith("already trained")

    again = shell.run(TYPED)
    assert table(again.stdout) == rows
    assert len(states(shell.home)) == len(shell.run_folders()) == TRIALS


@pytest.mark.long
def test_a_killed_sweep_resumes_and_another_terminal_joins(shell: Shell) -> None:
    process = subprocess.Popen(
        SWEEP.split(), cwd=shell.root, env=shell.variables(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not {"COMPLETE", "RUNNING"} <= set(states(shell.home)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    both = [shell.start(SWEEP), shell.start(f"{SWEEP} hydra.sweeper.join=true")]
    outputs = [one.communicate(timeout=PATIENCE_SECONDS)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    assert states(shell.home) == ["COMPLETE"] * TRIALS
    assert len(shell.run_folders()) == TRIALS
    assert sum("requeued" in text for text in outputs) == 1


MISTAKES = {
    "model.activation=relu": "nothing is swept",
    "model.activation=tanh,relu hydra.sweeper.n_trials=0": "hydra.sweeper.n_trials=0: must be at least 1",
    "model.activation=tanh,relu hydra.sweeper.sampler=bayes": "must be one of tpe, gp, random, qmc, cmaes",
    "model.activation=tanh,relu hydra.sweeper.trials=3": "hydra.sweeper.trials: no such key",
    "model.activation=tanh,rellu": "must be one of",
    "'optimizer.learning_rate=interval(0,1)'": "must be more than 0",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(shell: Shell, mistake: str) -> None:
    done = shell.run(f"python train.py -m hydra/sweeper=optuna {mistake}", check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert MISTAKES[mistake] in done.stderr
    assert not shell.home.exists()
