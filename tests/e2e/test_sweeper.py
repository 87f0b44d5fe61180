"""`python train.py -m hydra/sweeper=optuna`: a sweep that Optuna steers, killed, shared, asked again."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from shell import Shell

TRIALS = 4
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
SMALL = f"data.train_size=1000 trainer.epochs=1 trainer.threads=1 hydra.sweeper.n_trials={TRIALS}"
ASK = f"python train.py -m hydra/sweeper=optuna {RATE} model.activation=tanh,relu {SMALL}"
TYPED = ASK.replace(RATE, f"'{RATE}'")
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 120


def states(home: Path) -> list[str]:
    database = home / "searches" / "optuna.db"
    if not database.is_file():
        return []
    try:
        with closing(sqlite3.connect(database)) as connection:
            return [state for (state,) in connection.execute("select state from trials order by number")]
    except sqlite3.OperationalError:  # it is being made
        return []


def table(text: str) -> list[list[str]]:
    """The rows below the headings: run, activation, rate, error, epochs, seconds, answer."""
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["run", "model.activation", "optimizer.learning_rate"]
    return [line.split(maxsplit=6) for line in lines[1 : lines.index(next(x for x in lines if "compare:" in x))]]


def test_a_sweep_shows_its_runs_and_the_best_and_is_then_answered_at_once(shell: Shell) -> None:
    done = shell.run(TYPED)
    rows = table(done.stdout)
    assert states(shell.home) == ["COMPLETE"] * TRIALS
    assert [row[6].strip() for row in rows] == ["trained"] * TRIALS
    assert {row[1] for row in rows} <= {"tanh", "relu"}
    assert len({row[2] for row in rows}) == TRIALS
    assert all(1e-4 <= float(row[2]) <= 1e-1 for row in rows)
    linked = re.search(r"run_id%20IN(\S+?)&", done.stdout)
    assert linked is not None
    assert len(re.findall(r"%27(\w{32})%27", linked[1])) == TRIALS
    assert not list(shell.home.glob("runs/.sweeps/*"))

    best = min(range(TRIALS), key=lambda number: (float(rows[number][3]), number))
    told = re.search(
        r"^best: +([\d.]+) % validation error, trial (\d+): (python train.py .*)$", done.stdout, re.MULTILINE
    )
    assert told is not None
    assert (told[1], int(told[2])) == (rows[best][3], best)
    (answered,) = [line for line in shell.run(told[3]).stdout.splitlines() if line.startswith(rows[best][0])]
    assert answered.rstrip().endswith("already trained")

    again = shell.run(TYPED)
    assert [row[:6] for row in table(again.stdout)] == [row[:6] for row in rows]
    assert all(row[6].strip() == "already trained" for row in table(again.stdout))
    assert told[0] in again.stdout
    assert linked[0] in again.stdout
    assert len(states(shell.home)) == len(shell.run_folders()) == TRIALS


@pytest.mark.long
def test_killed_and_asked_again_by_two_it_has_its_number_of_trials(shell: Shell) -> None:
    process = shell.start(ASK)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while states(shell.home) != ["COMPLETE", "RUNNING"]:
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    process.kill()
    process.wait()
    assert states(shell.home) == ["COMPLETE", "RUNNING"]

    both = [shell.start(ASK), shell.start(ASK)]
    told = [one.communicate(timeout=PATIENCE_SECONDS)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert states(shell.home) == ["COMPLETE"] * TRIALS
    assert len(shell.run_folders()) == TRIALS
    assert sum("1 trials were left behind" in text for text in told) == 1
    shown = [table(text[text.index("run  ") :]) for text in told]
    assert [row[:6] for row in shown[0]] == [row[:6] for row in shown[1]]
    assert len(shown[0]) == TRIALS
    assert all(rows[0][6].strip() == "already trained" for rows in shown)
    for row in zip(*shown, strict=True):  # each was trained by one of them, or before
        assert any(one[6].strip() == "already trained" for one in row)


@pytest.mark.long
def test_a_run_that_fails_is_a_failed_trial_and_the_others_are_trained(shell: Shell) -> None:
    diverging = "model.activation=relu optimizer=sgd optimizer/schedule=constant optimizer.learning_rate=0.001,100"
    done = shell.run(f"python train.py -m hydra/sweeper=optuna {diverging} trainer.batch_size=8 {SMALL}", check=False)
    assert done.returncode == 1
    assert set(states(shell.home)) == {"COMPLETE", "FAIL"}
    assert len(states(shell.home)) == TRIALS
    assert len(shell.run_folders()) == 2
    assert "failed: the loss is not finite" in done.stdout
    assert re.search(r"^best: .*optimizer.learning_rate=0.001$", done.stdout, re.MULTILINE)
    assert "Traceback" not in done.stderr


MISTAKES = {
    "model.activation=relu": "nothing is swept",
    "model.activation=tanh,relu hydra.sweeper.n_trials=0": "hydra.sweeper.n_trials=0: must be at least 1",
    "model.activation=tanh,relu hydra.sweeper.n_trials=": "hydra.sweeper.n_trials",
    "model.activation=tanh,relu hydra.sweeper.sampler=bayes": "must be one of tpe, gp, random, qmc, cmaes",
    "model.activation=tanh,relu hydra.sweeper.trials=3": "hydra.sweeper.trials: no such key",
    "model.activation=tanh,rellu": "did you mean 'relu'",
    "'optimizer.learning_rate=interval(0,1)'": "optimizer.learning_rate=0.0: must be more than 0",
    "'optimizer.learning_rate=tag(log,interval(0,1))'": "the lowest value must be more than 0",
    "'data.train_size=int(interval(10000,60000))'": "data.train_size=60000: must be",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_one_line_and_nothing_is_written(shell: Shell, mistake: str) -> None:
    done = shell.run(f"python train.py -m hydra/sweeper=optuna {mistake}", check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert MISTAKES[mistake] in done.stderr
    assert not shell.home.exists()
