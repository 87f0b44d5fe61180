from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lenet.core.atomic_io import read_json, write_json
from lenet.core.errors import ConfigError
from lenet.search.results import check_target, copy_results, summary
from lenet.search.spec import SearchSpec
from lenet.search.trial_records import TrialRecord, best_so_far, pareto_front, ranked, trials_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A search's folder, with two pictures."""
    found = tmp_path / "searches" / "one"
    (found / "plots").mkdir(parents=True)
    for name in ("best.yaml", "trials.csv", "search.html", "plots/history.png", "plots/learning.png"):
        (found / name).write_text(name)
    write_json(found / "summary.json", {"best": None, "history": [[0, 1.5, 1795681766.7], [1, 1.25, 1795681764.3]]})
    return found


def test_copying_leaves_other_files_alone(folder: Path, tmp_path: Path) -> None:
    into = tmp_path / "thesis.2026"
    (into / "plots").mkdir(parents=True)
    for name in ("plots/mine.png", "plots/importance.png", "chapter.md"):
        (into / name).write_text("mine")
    copy_results(folder, into)
    assert (into / "plots" / "mine.png").read_text() == "mine"
    assert (into / "chapter.md").read_text() == "mine"
    assert not (into / "plots" / "importance.png").exists()  # of another search, which had more trials
    assert (into / "plots" / "history.png").read_text() == "plots/history.png"
    assert (into / "best.yaml").read_text() == "best.yaml"
    assert (tmp_path / "thesis.2026.html").read_text() == "search.html"
    assert read_json(into / "summary.json")["history"] == [[0, 1.5], [1, 1.25]]  # no times, which differ by machine


def test_a_target_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for into in (Path("/"), tmp_path / "file"):
        with pytest.raises(ConfigError, match=f"^--into {into}: is no folder"):
            check_target(into)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert check_target(Path()) == tmp_path
    finally:
        os.chdir(before)


def trial(number: int, state: str, error: float | None, epochs: int, is_feasible: bool = True) -> TrialRecord:
    values = {} if error is None else {"val/error": error}
    result = {"epochs": epochs, "ended": 100.0 + number}
    return TrialRecord(number, state, values, f"{number:02x}" * 32, {"rate": number}, is_feasible, result, {})


TRIALS = [
    trial(0, "PRUNED", None, 1),
    trial(1, "COMPLETE", 0.9, 5),
    trial(2, "FAIL", None, 2),
    trial(3, "COMPLETE", 0.5, 5, is_feasible=False),
    trial(4, "COMPLETE", 0.7, 5),
    trial(5, "COMPLETE", 0.8, 5),
]


def test_a_search_in_numbers(read_tiny: Callable[..., SearchSpec]) -> None:
    body = summary(read_tiny(epochs=5), "tiny-1", [*TRIALS, trial(6, "RUNNING", None, 1)])
    assert body["trials"] == {"complete": 4, "pruned": 1, "failed": 1, "all": 6}  # those that have ended
    assert (body["epochs"], body["epochs_unpruned"]) == (24, 30)
    assert body["best"] == {"trial": 4, "run": "04" * 32, "val_error": 0.7, "values": {"rate": 4}}
    assert body["front"] == [{"trial": 4, "run": "04" * 32, "val/error": 0.7}]
    assert body["history"] == best_so_far(TRIALS)
    none = summary(read_tiny(epochs=5), "tiny-1", TRIALS[:1])
    assert (none["best"], none["history"], none["front"]) == (None, [], [])


def test_the_best_so_far_ends_at_the_first_open_trial() -> None:
    assert best_so_far(TRIALS) == [[1, 0.9, 101.0], [2, 0.9, 102.0], [3, 0.9, 103.0], [4, 0.7, 104.0], [5, 0.7, 105.0]]
    assert best_so_far([*TRIALS[:4], trial(4, "RUNNING", None, 1), TRIALS[5]]) == best_so_far(TRIALS)[:3]


def test_trials_are_ranked_once_a_run_and_the_front_has_what_none_dominates() -> None:
    again = replace(trial(6, "COMPLETE", 0.7, 5), fingerprint=TRIALS[4].fingerprint)
    assert [one.number for one in ranked([*TRIALS, again])] == [4, 5, 1]
    costs = {1: 10.0, 4: 30.0, 5: 40.0}
    priced = [replace(one, values=one.values | {"parameters": costs[one.number]}) for one in ranked(TRIALS)]
    assert [one.number for one in pareto_front(priced)] == [4, 1]


def test_the_table_has_a_row_a_trial() -> None:
    lines = trials_table(TRIALS[:2]).splitlines()
    assert lines[0] == "trial,state,val/error,epochs,status,run,rate"
    assert lines[1] == f"0,PRUNED,,1,,{'00' * 32},0"
    assert lines[2] == f"1,COMPLETE,0.9,5,,{'01' * 32},1"
