from __future__ import annotations

from collections.abc import Callable

import yaml

from lenet.config.params import compose_variants, read_params, write_variants
from lenet.config.schema import Config
from lenet.core.atomic_io import read_json
from lenet.core.project import Project
from lenet.execution.local import RunRequest, run_all
from lenet.pipeline.stages import train_variant
from lenet.runs.get_or_train import RunMetadata
from lenet.runs.run_dir import RunDir


def test_a_run_that_is_requested_twice_is_trained_once(
    project: Project, make_config: Callable[..., Config], said: list[str]
) -> None:
    config = make_config()
    requests = [RunRequest(config, RunMetadata("first", "a")), RunRequest(config, RunMetadata("second", "b"))]
    first, second = run_all(project, requests, workers=2)
    assert (first.outcome, second.outcome) == ("trained", "already trained")
    assert first.run_dir == second.run_dir
    assert len(first.run_dir.status()["attempts"]) == 1
    assert not [line for line in said if "waiting" in line]
    assert [one.outcome for one in run_all(project, requests, workers=2)] == ["already trained"] * 2


def test_the_train_stage_says_what_trained(project: Project, said: list[str]) -> None:
    path = project.root / "params.yaml"
    tree = yaml.safe_load(path.read_text()) | {"data": "tiny", "variants": ["lenet5", "lenet5_relu"], "seeds": [1, 2]}
    tree["overrides"] = ["trainer.epochs=1", "trainer=cpu", "trainer.threads=2", "trainer.batch_size=50"]
    path.write_text(yaml.safe_dump(tree))
    params = read_params(project)
    write_variants(project, compose_variants(project, params))
    train_variant(project, params, "lenet5")
    entries = read_json(project.root / "build/train/lenet5/runs.json")["runs"]
    assert {entry["seed"]: entry["trained_by"] for entry in entries} == dict.fromkeys((1, 2), "the fused kernel")
    for entry in entries:
        (attempt,) = RunDir(project.runs / entry["fingerprint"]).status()["attempts"]
        assert attempt["threads"] >= 1
        assert attempt["kernel"].startswith("fused (")
        error = f"{entry['measures']['val/error']:.2f} %"
        assert f"{entry['fingerprint'][:12]}  lenet5 seed={entry['seed']}: validation error {error}" in said
