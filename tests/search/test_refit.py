from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lenet.config.params import compose_variants, read_params, write_variants
from lenet.config.schema import Config
from lenet.core.atomic_io import read_json, write_json
from lenet.core.errors import ConfigError, LenetError
from lenet.core.paths import REFIT, REFIT_RECIPE, REFITTED, SEARCH
from lenet.core.project import Project
from lenet.pipeline.search_stages import refit_stage
from lenet.runs.run_dir import all_runs
from lenet.search.results import CANDIDATES

Make = Callable[..., Config]
DIVERGES = {
    "optimizer": {
        "name": "sgd",
        "learning_rate": 100.0,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "schedule": {"name": "constant"},
    }
}


def run_refit(project: Project, configs: list[Config], **refit_params: Any) -> dict[str, Any]:
    """Refit what a search found, and return results/refit.json."""
    path = project.root / "params.yaml"
    tree = yaml.safe_load(path.read_text()) | {"data": "tiny", "variants": ["lenet5"], "seeds": [1]}
    tree["overrides"] = ["trainer.epochs=2", "trainer=cpu", "trainer.batch_size=50"]
    tree["search"] |= {"workers": 2}
    tree["refit"] = {"candidates": 3, "seeds": [11, 12], "confirm": [1, 2], "baseline": "lenet5"} | refit_params
    path.write_text(yaml.safe_dump(tree))
    params = read_params(project)
    write_variants(project, compose_variants(project, params))
    found = [{"trial": number, "val_error": 0.5, "config": one.tree()} for number, one in enumerate(configs)]
    write_json(project.root / SEARCH / CANDIDATES, {"candidates": found})
    refit_stage(project, params)
    return read_json(project.root / REFIT)


def diverging(make_tree: Callable[..., dict[str, Any]]) -> Config:
    from lenet.config.schema import parse_config

    return parse_config(make_tree(seed=0, model__activation="relu") | DIVERGES)


@pytest.mark.long
def test_the_choice_stands_on_some_seeds_and_what_is_said_of_it_on_others(
    project: Project, make_config: Make, make_tree: Callable[..., dict[str, Any]], said: list[str]
) -> None:
    weak, strong = (make_config(seed=0, trainer__epochs=1, optimizer__learning_rate=rate) for rate in (1e-5, 0.01))
    body = run_refit(project, [weak, diverging(make_tree), strong])
    assert body["chosen"] == 2
    tried = {one["trial"]: one for one in body["candidates"]}
    assert [len(tried[trial]["runs"]) + len(tried[trial]["failed"]) for trial in range(3)] == [2, 2, 2]
    assert 11 in tried[1]["failed"]
    assert "11" not in tried[1]["by_seed"]
    assert set(tried[2]["by_seed"]) == {"11", "12"}
    assert tried[0]["validation_error"]["mean"] > tried[2]["validation_error"]["mean"]
    for side in ("confirmed", "baseline"):
        assert set(body[side]["by_seed"]) == {"1", "2"}
    ours, theirs = (list(body[side]["by_seed"].values()) for side in ("confirmed", "baseline"))
    assert (body["comparison"]["n_a"], body["comparison"]["n_b"]) == (2, 2)
    assert body["comparison"]["mean"] == pytest.approx(sum(ours) / 2 - sum(theirs) / 2)
    curse = body["winners_curse"]
    assert (curse["trial"], curse["epochs"], curse["fresh_seeds"]["n"]) == (0, 1, 2)  # on the search's own budget
    assert curse["optimism"] == pytest.approx(curse["fresh_seeds"]["mean"] - 0.5, abs=1e-4)

    trained = read_json(project.root / "build" / "train" / REFITTED / "runs.json")["runs"]
    assert [run["seed"] for run in trained] == [1, 2]
    assert {run["fingerprint"] for run in trained} == set(body["confirmed"]["runs"].values())
    recipe = yaml.safe_load((project.root / REFIT_RECIPE).read_text())
    assert recipe["optimizer"]["learning_rate"] == 0.01
    assert any(line.startswith("trial 1: ") and ", failed with " in line for line in said)
    assert any("refitted trial=1 seed=11: failed: " in line and "the loss is not finite" in line for line in said)


def test_where_none_trains_it_says_so_and_writes_nothing(
    project: Project, make_tree: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(LenetError, match=r"trial 0, the search's best, trains with none of the seeds \[11\]"):
        run_refit(project, [diverging(make_tree)], seeds=[11])
    assert not (project.root / REFIT).exists()
    (folder,) = all_runs(project)  # requested as a candidate and for the winner's curse, and tried once
    assert len(folder.status()["attempts"]) == 1


@pytest.mark.parametrize("change", [{"seeds": [0, 11]}, {"confirm": [0, 1]}])
def test_the_searchs_own_seed_is_refused(project: Project, make_config: Make, change: dict[str, list[int]]) -> None:
    (name,) = change
    with pytest.raises(ConfigError, match=rf"^params\.yaml: refit\.{name} has 0, the search's own seed"):
        run_refit(project, [make_config(seed=0)], **change)
    assert not Path(project.root / "build" / "train" / REFITTED).exists()
