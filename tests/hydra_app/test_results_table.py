from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest

from lenet.config.schema import Config
from lenet.config.validation import flatten
from lenet.core.project import Project
from lenet.hydra_app.results_table import Row, compare_link, differing, mean_errors, print_rows
from lenet.tracking.run_ref import SyncRecord, write_record
from lenet.tracking.store import tracking_uri

MakeConfig = Callable[..., Config]


def row(project: Project, config: Config, digit: str, outcome: str = "trained", error: float | None = 2.5) -> Row:
    """A row whose run folder holds two epochs, of which the last has the error."""
    found = Row(digit * 64, outcome, dict(flatten(config.tree())))
    run_dir = found.run_dir(project)
    if error is not None:
        epochs = [
            {"epoch": number, "train/loss": 0.5, "train/error": 3.0, "val/error": earlier + error, "seconds": 1.25}
            for number, earlier in ((1, 4.0), (2, 0.0))
        ]
        run_dir.write("history.json", {"epochs": epochs})
    return found


def test_only_knobs_that_differ_are_shown(project: Project, make_config: MakeConfig) -> None:
    rows = [
        row(project, make_config(seed=seed, model__activation=activation), str(number))
        for number, (seed, activation) in enumerate([(1, "tanh"), (2, "tanh"), (1, "relu")])
    ]
    assert differing(rows) == ["seed", "model.activation"]
    assert differing(rows[:1]) == ["name", "seed"]
    assert differing([rows[0], rows[0]]) == []


def test_knobs_that_only_some_have_are_shown(project: Project, make_config: MakeConfig) -> None:
    rows = [
        row(project, make_config(), "1"),
        row(project, make_config(optimizer__schedule={"name": "constant"}), "2"),
    ]
    assert differing(rows) == [
        "optimizer.schedule.name",
        "optimizer.schedule.warmup_fraction",
        "optimizer.schedule.final_fraction",
    ]


def test_the_table(project: Project, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        row(project, make_config(seed=1), "a", error=2.456),
        row(project, make_config(seed=2), "b", "already trained", error=3.0),
        row(project, make_config(seed=3), "c", "failed: the loss is not finite", error=None),
    ]
    print_rows(project, rows)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[4:] == [[], ["val/error", "%", "(mean", "±", "sd)", "n"], ["2.73", "±", "0.38", "2"]]
    assert lines[:4] == [
        ["run", "seed", "val/error", "%", "epochs", "seconds", "state"],
        ["a" * 12, "1", "2.46", "2", "2.5", "trained"],
        ["b" * 12, "2", "3.00", "2", "2.5", "already", "trained"],
        ["c" * 12, "3", "–", "0", "0.0", "failed:", "the", "loss", "is", "not", "finite"],
    ]


def test_mean_and_deviation_over_seeds_of_each_combination(project: Project, make_config: MakeConfig) -> None:
    runs = [("tanh", 1, 2.0), ("relu", 1, 1.0), ("tanh", 2, 3.0), ("relu", 2, 1.5), ("tanh", 3, 4.0), ("gelu", 1, 9.0)]
    rows = [
        row(project, make_config(seed=seed, model__activation=activation), str(number), error=error)
        for number, (activation, seed, error) in enumerate(runs)
    ]
    rows += [rows[0], row(project, make_config(seed=4, model__activation="tanh"), "a", "failed: x")]
    assert mean_errors(project, rows) == [
        (("tanh",), 3.0, 1.0, 3),
        (("relu",), 1.25, pytest.approx(0.125**0.5), 2),  # and one run alone has no spread
    ]
    assert mean_errors(project, [rows[0], rows[1]]) == []  # no seed is swept


def test_a_failed_row_has_no_error(project: Project, make_config: MakeConfig) -> None:
    assert row(project, make_config(), "a").error(project) == 2.5
    failed = row(project, make_config(), "b", "failed: x")
    assert failed.is_failed
    assert failed.error(project) is None


def test_a_damaged_history_has_no_error(project: Project, make_config: MakeConfig) -> None:
    found = row(project, make_config(), "a")
    (found.run_dir(project).path / "history.json").write_text("{")
    assert found.error(project) is None


def test_a_damaged_history_does_not_hide_the_others(
    project: Project, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(project, make_config(seed=seed), digit) for seed, digit in ((1, "a"), (2, "b"), (3, "c"))]
    (rows[1].run_dir(project).path / "history.json").write_text("{")
    print_rows(project, rows)
    assert [line.split()[2:5] for line in capsys.readouterr().out.splitlines()[1:4]] == [
        ["2.50", "2", "2.5"],
        ["–", "0", "0.0"],
        ["2.50", "2", "2.5"],
    ]


def place(project: Project, found: Row, uri: str, run: str) -> None:
    write_record(found.run_dir(project).path, uri, SyncRecord("7", run))


def test_the_link_compares_exactly_these_runs(project: Project, make_config: MakeConfig) -> None:
    rows = [row(project, make_config(seed=seed), str(seed)) for seed in (1, 2)]
    uri = tracking_uri(project)
    assert compare_link(project, rows) is None
    place(project, rows[0], uri, "abc")
    assert compare_link(project, rows) is None  # MLflow does not show them all yet
    place(project, rows[1], uri, "def")
    link = compare_link(project, rows)
    assert link is not None
    assert link.startswith("http://127.0.0.1:5000/#/experiments/7/runs?searchFilter=")
    assert unquote(link).count("attributes.run_id IN ('abc','def')&compareRunsMode=CHART") == 1
    single = compare_link(project, rows[:1])
    assert single == "http://127.0.0.1:5000/#/experiments/7/runs/abc?workflowType=machine_learning"
    assert compare_link(project, []) is None


def test_the_same_run_twice_is_compared_with_nothing(project: Project, make_config: MakeConfig) -> None:
    found = row(project, make_config(), "1")
    place(project, found, tracking_uri(project), "abc")
    assert compare_link(project, [found, found]) == compare_link(project, [found])
