from __future__ import annotations

from typing import Any

import pytest
from tracked import Lab

from lenet.core.atomic_io import write_json
from lenet.tracking.entities import study_of
from lenet.tracking.run_content import Point
from lenet.tracking.run_sync import differences
from lenet.tracking.search_sync import TrackedSearch
from lenet.tracking.sync import find_unsynced, synchronize


def test_search_is_shown_and_shown_again_after_its_rows_are_lost(lab: Lab) -> None:
    folder = lab.project.home / "searches" / "tiny-0123"
    body: dict[str, Any] = {"study": "tiny-0123", "tracking": {"uri": None, "experiment": "lenet5"}}
    body |= {"objectives": ["val/error"], "sampler": "random", "pruner": "none", "epochs": 1, "space": {"x": 1}}
    write_json(folder / "search.json", body)
    summary = {
        "study": "tiny-0123",
        "is_over": True,
        "history": [[1, 3.0, 1.7e9], [2, 2.0, 1.8e9]],
        "trials": {"all": 2, "complete": 2},
        "best": {"values": {"x": 1}, "run": "f" * 64, "val_error": 2.0},
    }
    write_json(folder / "summary.json", summary)
    (folder / "trials.csv").write_text("trial\n1\n2\n")
    assert synchronize(lab.project)
    (run,) = lab.runs()
    assert differences(TrackedSearch(folder), lab.uri) == []
    assert (run.info.status, run.data.metrics["search/best"], run.data.tags["lenet.best.x"]) == ("FINISHED", 2.0, "1")
    assert run.data.metrics["search/trials_complete"] == 2
    assert run.data.params["search.space.x"] == "1"
    lab.execute(*(f"delete from {table}" for table in ("metrics", "latest_metrics", "params", "tags", "runs")))
    assert [one.tracked.folder for one in find_unsynced(lab.project)[0]] == [folder]
    assert synchronize(lab.project)
    (again,) = lab.runs()
    assert (again.info.run_id != run.info.run_id, again.info.status) == (True, "FINISHED")
    assert again.data.metrics == run.data.metrics
    assert lab.points(again.info.run_id)["search/best", 1] == 1
    assert set(lab.artifacts(again.info.run_id)) == {"trials.csv", "summary.json", "trials.json"}


def test_search_that_is_not_over_is_killed_and_its_counts_stand_at_its_last_trial(lab: Lab) -> None:
    folder = lab.project.home / "searches" / "tiny-0123"
    body: dict[str, Any] = {"study": "tiny-0123", "tracking": {"uri": None, "experiment": "lenet5"}}
    write_json(folder / "search.json", body | {"objectives": [], "sampler": "", "pruner": "", "epochs": 1, "space": {}})
    (folder / "trials.csv").write_text("trial\n1\n")
    summary = {"study": "tiny-0123", "history": [[1, 3.0, 5.0], [2, 2.0, 6.0]], "trials": {"all": 2}, "best": None}
    for is_over, status in ((False, "KILLED"), (True, "FINISHED")):
        write_json(folder / "summary.json", summary | {"is_over": is_over})
        content = TrackedSearch(folder).content()
        assert content.status == status
        assert content.points[-1] == Point("search/trials_all", 2, 2.0, 6000)


@pytest.mark.parametrize(
    ("sweeps", "study"), [([], None), (["search:a"], "a"), (["a sweep"], None), (["search:a", "a sweep"], None)]
)
def test_run_belongs_to_the_search_that_alone_asked_for_it(sweeps: list[str], study: str | None) -> None:
    assert study_of(sweeps) == study
