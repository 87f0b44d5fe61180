from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest

from lenet.config.schema import Config
from lenet.config.validation import flatten
from lenet.core.project import Project
from lenet.hydra_app.results_table import Row, compare_link, differing, print_rows
from lenet.tracking.run_ref import SyncRecord, write_record
from lenet.tracking.store import tracking_uri

MakeConfig = Callable[..., Config]


def row(project: Project, config: Config, digit: str, answer: str = "trained", error: float | None = 2.5) -> Row:
    """A row whose run folder holds two epochs, of which the last has the error."""
    found = Row(digit * 64, answer, dict(flatten(config.tree())))
    folder = found.folder(project)
    if error is not None:
        epochs = [
            {"epoch": number, "train/loss": 0.5, "train/error": 3.0, "val/error": earlier + error, "seconds": 1.25}
            for number, earlier in ((1, 4.0), (2, 0.0))
        ]
        folder.write("history.json", {"epochs": epochs})
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
    assert lines == [
        ["run", "seed", "val/error", "%", "epochs", "seconds", "state"],
        ["a" * 12, "1", "2.46", "2", "2.5", "trained"],
        ["b" * 12, "2", "3.00", "2", "2.5", "already", "trained"],
        ["c" * 12, "3", "–", "0", "0.0", "failed:", "the", "loss", "is", "not", "finite"],
    ]


def test_a_failed_row_has_no_error(project: Project, make_config: MakeConfig) -> None:
    assert row(project, make_config(), "a").error(project) == 2.5
    failed = row(project, make_config(), "b", "failed: x")
    assert failed.is_failed
    assert failed.error(project) is None


def test_a_damaged_history_has_no_error(project: Project, make_config: MakeConfig) -> None:
    found = row(project, make_config(), "a")
    (found.folder(project).path / "history.json").write_text("{")
    assert found.error(project) is None


def test_a_damaged_history_does_not_hide_the_others(
    project: Project, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(project, make_config(seed=seed), digit) for seed, digit in ((1, "a"), (2, "b"), (3, "c"))]
    (rows[1].folder(project).path / "history.json").write_text("{")
    print_rows(project, rows)
    assert [line.split()[2:5] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["2.50", "2", "2.5"],
        ["–", "0", "0.0"],
        ["2.50", "2", "2.5"],
    ]


def place(project: Project, found: Row, uri: str, run: str) -> None:
    write_record(found.folder(project).path, uri, SyncRecord("7", run))


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
