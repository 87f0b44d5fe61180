"""A search that can be killed, joined, resumed and believed: real processes, real SQLite, real PostgreSQL."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from postgresql import Server, postgresql
from shell import Shell

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 150
KILLS = 20

SPACE = "~search.space.model ~search.space.trainer ~search.space.augmentation"
SMALL = f"data.train_size=1500 data.validation_size=500 search.epochs=3 search.first_epoch=1 {SPACE}"


def command(trials: int, workers: int, more: str = "") -> str:
    return f"lenet search {SMALL} search.trials={trials} search.workers={workers} {more}".strip()


def study(home: Path, query: str) -> list[tuple[object, ...]]:
    path = home / "searches" / "optuna.db"
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # its tables are being made
        return []


def summary(home: Path) -> dict[str, Any]:
    """What the only search of a home says of itself."""
    (path,) = home.glob("searches/*/summary.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def states(home: Path) -> Counter[str]:
    return Counter(str(row[0]) for row in study(home, "select state from trials"))


def done(home: Path) -> int:
    found = states(home)
    return found["COMPLETE"] + found["PRUNED"] + found["FAIL"]


def running_workers(home: Path) -> list[int]:
    """The processes that are at a trial now."""
    workers = study(
        home,
        "select a.value_json from trials t join trial_user_attributes a on a.trial_id = t.trial_id"
        " where t.state = 'RUNNING' and a.key = 'lenet.worker'",
    )
    pids = []
    for (worker,) in workers:
        for path in home.glob(f"searches/*/locks/worker-{worker}"):
            text = path.read_text().strip()
            if text and Path(f"/proc/{text}").exists():
                pids.append(int(text))
    return pids


def wait(until: object, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until():  # type: ignore[operator]
        assert process is None or process.poll() is None, process.communicate()[0] if process else ""
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)


def assert_whole(home: Path, trials: int, epochs: int = 3) -> None:
    """Exactly so many trials, each ended, each configuration's epochs trained once."""
    found = states(home)
    assert sum(found.values()) == trials, found
    assert found["RUNNING"] == found["WAITING"] == 0, found
    fingerprints = study(home, "select value_json from trial_user_attributes where key = 'lenet.fingerprint'")
    assert len(fingerprints) == len(set(fingerprints)) == trials
    for path in home.glob("runs/*/history.json"):
        rows = [int(row["epoch"]) for row in json.loads(path.read_text())["epochs"]]
        assert rows == list(range(1, len(rows) + 1))
        status = json.loads((path.parent / "status.json").read_text())
        assert status["state"] in {"FINISHED", "PRUNED"}
        if status["state"] == "FINISHED":
            assert len(rows) == epochs
        begun = [attempt["after_epoch"] for attempt in status["attempts"]]
        assert begun == sorted(begun)  # every attempt went on from where the one before was safe


@pytest.mark.long
def test_workers_killed_twenty_times_leave_neither_more_nor_fewer_trials(shell: Shell) -> None:
    trials = 26
    process = shell.start(command(trials, workers=4))
    killed = 0
    while killed < KILLS and process.poll() is None:
        before = done(shell.home)
        wait(lambda: running_workers(shell.home) or process.poll() is not None)
        for pid in running_workers(shell.home)[:1]:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        wait(lambda: done(shell.home) > before or process.poll() is not None)  # noqa: B023
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    assert killed == KILLS, output
    assert_whole(shell.home, trials)


@pytest.mark.long
def test_killed_whole_it_goes_on_and_shows_everything_once(shell: Shell) -> None:
    typed = command(8, workers=2)
    process = subprocess.Popen(
        typed.split(), cwd=shell.root, env=shell.variables(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    wait(lambda: done(shell.home) >= 2 and running_workers(shell.home))
    workers = running_workers(shell.home)
    os.killpg(process.pid, signal.SIGKILL)  # as when the machine goes down: all at once
    process.wait()
    wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert states(shell.home)["RUNNING"] > 0

    again = shell.run(typed)
    assert "requeued" in again.stderr
    assert_whole(shell.home, 8)
    nothing = shell.run(typed)
    assert "8 trials" in nothing.stderr
    assert_whole(shell.home, 8)

    more = shell.run(command(10, workers=1))
    assert "10 trials" in more.stderr
    assert_whole(shell.home, 10)
    assert_findings(shell)
    assert_tracked(shell, 10)

    fewer = shell.run(command(8, workers=1))  # the first ones, as if no others had been asked for
    assert "8 trials" in fewer.stderr
    assert summary(shell.home)["trials"]["all"] == 8
    assert_whole(shell.home, 10)


def assert_findings(shell: Shell) -> None:
    (folder,) = [path.parent for path in shell.home.glob("searches/*/search.json")]
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert len(rows) == 10
    errors = [float(row["val/error"]) for row in rows if row["state"] == "COMPLETE"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best"]["val_error"] == min(errors)
    assert (folder / "plots" / "history.png").read_bytes().startswith(b"\x89PNG")
    assert "plotly" in (folder / "search.html").read_text()
    # The best is an experiment of its own, whose run is there already: it was a trial.
    results = shell.root / "results" / "search"
    kept = shutil.copytree(results, shell.home / "kept") if results.is_dir() else None
    try:
        results.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "best.yaml", results / "best.yaml")
        asked = shell.run(
            "python train.py experiment=searched data.train_size=1500 data.validation_size=500 trainer.epochs=3 seed=0"
        )
        assert "already trained" in asked.stdout
    finally:
        shutil.rmtree(results)
        if kept is not None:
            shutil.copytree(kept, results)


def assert_tracked(shell: Shell, trials: int) -> None:
    with closing(sqlite3.connect(shell.home / "mlflow.db")) as connection:
        parents = connection.execute("select run_uuid, status from runs where name like 'search %'").fetchall()
        assert [status for _, status in parents] == ["FINISHED"]
        nested = connection.execute(
            "select count(*) from tags where key = 'mlflow.parentRunId' and value = ?", (parents[0][0],)
        ).fetchone()
        # train.py has asked for the best one since: it stands for itself again
        assert nested[0] in {trials, trials - 1}
        pruned = connection.execute(
            "select count(*) from tags where key = 'lenet.pruned' and value = 'true'"
        ).fetchone()
        assert pruned[0] == states(shell.home)["PRUNED"]
        best = connection.execute(
            "select step, count(*) from metrics where key = 'search/best' group by step"
        ).fetchall()
        assert all(count == 1 for _, count in best)


@pytest.mark.long
def test_a_second_terminal_joins_and_ctrl_c_leaves_a_study_that_goes_on(shell: Shell) -> None:
    long = "data.train_size=12000"  # the last one counts: time to come and go
    first = shell.start(command(12, workers=1, more=long))
    wait(lambda: states(shell.home), first)
    refused = shell.run(command(12, workers=1, more=long), check=False)
    assert refused.returncode == 1
    assert "--join" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    second = shell.start(command(12, workers=1, more=f"{long} --join"))
    wait(lambda: len(running_workers(shell.home)) == 2, first)
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 130, output
    output, _ = second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0, output
    found = summary(shell.home)  # the first one is gone: who outlived it leaves the findings
    assert found["is_over"]
    assert found["trials"]["all"] == 12
    assert "best:" in output
    workers = study(shell.home, "select distinct value_json from trial_user_attributes where key = 'lenet.worker'")
    assert len(workers) == 2
    shell.run(command(12, workers=1, more=long))
    assert_whole(shell.home, 12)


@pytest.mark.long
def test_trials_whose_loss_is_not_finite_fail_and_the_search_goes_on(shell: Shell) -> None:
    rate = "search.space.optimizer.learning_rate"
    words = "optimizer=sgd optimizer/schedule=constant search.sampler=random"
    words += f" ~search.space.optimizer.label_smoothing ~{rate}.low ~{rate}.high ~{rate}.log"
    ran = shell.run(command(8, workers=2, more=f"{words} '+{rate}.choices=[0.01,90.0]'"))
    found = states(shell.home)
    assert found["FAIL"] > 0
    assert found["COMPLETE"] + found["PRUNED"] > 0
    assert sum(found.values()) == 8
    assert "8 trials" in ran.stderr


@pytest.mark.long
def test_two_objectives_have_a_front(shell: Shell) -> None:
    words = "search.pruner=none search.objectives=[val/error,latency_ms] search.epochs=1"
    shell.run(command(4, workers=2, more=words))
    (path,) = shell.home.glob("searches/*/summary.json")
    front = json.loads(path.read_text())["front"]
    assert 1 <= len(front) <= 4
    assert all(one["latency_ms"] > 0 for one in front)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("search.trials=0", "search.trials=0: must be at least 1"),
        ("+search.space.model.colour.choices=[red]", "search.space.model.colour: no such field"),
        ("~search.space.optimizer", "search.space: is empty"),
        ("search.storage=postgresql://nobody@127.0.0.1:1/none", "database does not answer"),
    ],
)
def test_a_mistake_is_one_line(shell: Shell, words: str, message: str) -> None:
    ran = shell.run(f"lenet search {SMALL} {words}", check=False)
    assert ran.returncode in {1, 2}
    assert message in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not list(shell.home.glob("searches/*/search.json"))


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL server of our own, on a free port."""
    with postgresql() as running:
        if running is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        yield running


def on_server(server: Server, query: str) -> list[tuple[object, ...]]:
    import psycopg

    try:
        with psycopg.connect(server.url) as connection:
            return connection.execute(query).fetchall()
    except psycopg.errors.UndefinedTable:
        return []


STATES = "select state::text from trials"


@pytest.mark.long
def test_postgresql_knows_at_once_who_was_killed(shell: Shell, server: Server) -> None:
    typed = command(8, workers=2, more=f"search.storage={server.url}")
    process = shell.start(typed)
    wait(lambda: ("RUNNING",) in on_server(server, STATES), process)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    grandchildren = [
        int(pid) for child in children for pid in Path(f"/proc/{child}/task/{child}/children").read_text().split()
    ]
    os.kill(grandchildren[0], signal.SIGKILL)
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    assert_whole_on(server, 8)
    assert "8 trials" in shell.run(typed).stderr


@pytest.mark.long
def test_a_database_that_goes_away_is_a_line_and_the_search_goes_on_when_it_is_back(
    shell: Shell, server: Server
) -> None:
    typed = command(6, workers=2, more=f"data.train_size=6000 search.storage={server.url}")
    process = shell.start(typed)
    wait(lambda: ("COMPLETE",) in on_server(server, STATES), process)
    wait(lambda: ("RUNNING",) in on_server(server, STATES), process)
    server.stop()
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    complaint = output.splitlines()[-1]
    assert complaint.startswith("error: postgresql+psycopg://lenet@127.0.0.1:"), output
    assert "the study's database does not answer" in complaint
    away = shell.run(typed, check=False)
    assert away.returncode == 1
    assert len(away.stderr.splitlines()) == 1

    server.start()
    assert "6 trials" in shell.run(typed).stderr
    assert_whole_on(server, 6)


def assert_whole_on(server: Server, trials: int) -> None:
    found = Counter(str(row[0]) for row in on_server(server, STATES))
    assert sum(found.values()) == trials
    assert found["RUNNING"] == found["WAITING"] == found["FAIL"] == 0
