"""`lenet gate`: worse is red; better, no better, unchanged and rolled back are not. Judging alone changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lenet.core.atomic_io import write_json
from lenet.core.errors import ConfigError, LenetError
from lenet.core.project import Project
from lenet.gate.ci_gate import GateReport, run_gate
from lenet.gate.gate_report import RULING
from lenet.registry.registered_model import registry_uri
from lenet.registry.rollback import rollback
from lenet.runs.run_dir import RunDir
from lenet.tracking.store import open_store, tracking_uri
from showcase import Showcase, aliases, crowned


def choose(showcase: Showcase, *blind: int, trace: float = 0.0) -> None:
    """Leave what evaluation and training would, had they chosen a network that is blind to these classes."""
    choose_run(showcase, showcase.run(*blind, trace=trace))


def choose_run(showcase: Showcase, folder: RunDir) -> None:
    root = showcase.project.root
    out = root / "build/train/lenet5"
    (out / "seed-1").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder.path / "weights.safetensors", out / "seed-1/weights.safetensors")
    run: dict[str, object] = {"seed": 1, "config": showcase.config.tree(), "fingerprint": folder.fingerprint}
    run |= {"data_digest": "0" * 64, "epochs": 1, "threads": [1], "measures": {}}
    run["weights_sha256"] = folder.status()["files"]["weights.safetensors"]
    write_json(out / "runs.json", {"variant": "lenet5", "runs": [run]})
    write_json(root / "results/evaluation.json", {"choice": {"variant": "lenet5", "seed": 1}})


def ask(showcase: Showcase, act: bool = False, uri: str | None = None) -> GateReport:
    return run_gate(showcase.project, showcase.params, uri, act, lambda line: None)


def page(showcase: Showcase) -> str:
    return (showcase.project.root / RULING).read_text()


def test_judging_is_red_for_worse_alone_and_changes_nothing(showcase: Showcase) -> None:
    crowned(showcase, 1)
    history = sorted((showcase.project.home / "promotions").iterdir())
    for blind, trace, good, headline in (
        ((1,), 0.0, True, "nothing to do: digits version 1 "),
        ((1,), 0.5, True, "cannot be told apart: digits version 1 "),
        ((2,), 0.0, False, "refused (classes, quality): digits version 1 "),
        ((1, 2, 3, 4), 0.0, False, "refused (floor, champion, classes, quality): digits version 1 "),
        ((), 0.0, True, "passed: lenet5 seed=1 would become the champion"),
    ):
        choose(showcase, *blind, trace=trace)
        ruling = ask(showcase)
        assert (ruling.good, ruling.headline[: len(headline)]) == (good, headline)
        assert ruling.headline[1:].split(":")[0].split("(")[0] in page(showcase)
    assert aliases(showcase) == {"champion": "1"}
    assert sorted((showcase.project.home / "promotions").iterdir()) == history


def test_no_better_is_green(showcase: Showcase) -> None:
    showcase.set_params(alpha=0.0001)  # ten images more are not enough to be sure
    crowned(showcase, 1)
    choose(showcase)
    ruling = ask(showcase)
    assert (ruling.good, ruling.headline) == (
        True,
        "no better: digits version 1 (blind to (1,) trace=0) stays the champion",
    )
    assert "| quality | failed |" in page(showcase)


def test_acting_promotes_a_version_and_refuses_another(showcase: Showcase) -> None:
    crowned(showcase, 1)
    showcase.register()
    showcase.register(1, 2, 3, 4)
    choose(showcase, 1, 2, 3, 4)
    assert not ask(showcase, act=True).good
    assert aliases(showcase)["champion"] == "1"
    choose(showcase)
    ruling = ask(showcase, act=True)
    assert ruling.headline == "promoted: version 2 is the champion, version 1 the previous one"
    assert aliases(showcase)["champion"] == "2"
    assert ask(showcase, act=True).headline.startswith("nothing to do: digits version 2 ")
    rollback(showcase.project, showcase.params, None, lambda line: None)
    back = ask(showcase, act=True)
    assert back.good
    assert "was rolled back by" in back.headline
    assert aliases(showcase)["champion"] == "1"


def test_without_a_champion_the_floor_alone_is_asked(showcase: Showcase) -> None:
    choose(showcase, 1, 2, 3, 4)
    assert ask(showcase).headline == "refused (floor): there is no champion yet"
    choose(showcase, 1)
    assert ask(showcase).headline == "passed: lenet5 seed=1 would become the first champion"
    assert ask(showcase).answer().lines[-2] == "registry: mlflow.db of this home; no server is named"


def test_a_champion_that_misses_a_new_floor_is_red(showcase: Showcase) -> None:
    crowned(showcase, 1)
    choose(showcase, 1)
    showcase.set_params(floor_error_percent=5)
    assert ask(showcase).headline.startswith("refused (floor): digits version 1 ")


def test_the_page_has_the_report_without_its_pictures(showcase: Showcase) -> None:
    choose(showcase, 1)
    report = showcase.project.root / "results/report.md"
    report.write_text("# LeNet-5 on tiny\n\n![a picture](plots/a.png)\n\n| variant |\n")
    ask(showcase)
    assert page(showcase).startswith("# Passed: lenet5 seed=1 would become")
    assert "| floor | passed | misreads 10 of 100 images" in page(showcase)
    assert "| variant |" in page(showcase)
    assert "plots/a.png" not in page(showcase)


def test_mistakes_are_one_line(showcase: Showcase, tmp_path: Path) -> None:
    with pytest.raises(LenetError, match=r"evaluation\.json: is missing; `dvc repro evaluate` makes it"):
        ask(showcase)
    choose(showcase, 1)
    with pytest.raises(ConfigError, match="leave --against out"):
        ask(showcase, act=True, uri=f"sqlite:///{tmp_path}/other.db")
    for uri in (f"sqlite:///{tmp_path}/other.db", "sqlite:///other.db"):
        with pytest.raises(ConfigError, match=r"^--against: /.*/other\.db is not there; name the store"):
            ask(showcase, uri=uri)
    (showcase.project.root / "build/train/lenet5/seed-1/weights.safetensors").write_bytes(b"another")
    with pytest.raises(LenetError, match="sha256"):
        ask(showcase)


def test_another_store_is_found_by_its_whole_path_and_called_so(showcase: Showcase, tmp_path: Path) -> None:
    crowned(showcase, 1)
    choose(showcase)
    home = showcase.project.home
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    open_store(Project(home, elsewhere), f"sqlite:///{elsewhere}/other.db")
    ruling = ask(showcase, uri=f"sqlite:///{elsewhere}/other.db")
    assert ruling.registry == "other.db, an SQLite store elsewhere"
    assert ruling.headline.endswith("would become the first champion")
    with pytest.raises(ConfigError, match="must be within the project's home"):
        ask(showcase, uri=f"sqlite:///{os.path.relpath(elsewhere / 'other.db', home)}")
    assert ask(showcase, uri="sqlite:///mlflow.db").headline.endswith("would become the champion")


def test_the_same_run_trained_again_is_the_champion_still_or_rolled_back_still(showcase: Showcase) -> None:
    crowned(showcase, 1)
    choose_run(showcase, showcase.retrained(1))
    for act in (False, True):
        assert ask(showcase, act=act).headline.startswith("nothing to do: digits version 1 (")
    showcase.register()
    choose(showcase)
    assert ask(showcase, act=True).headline.startswith("promoted: version 2 ")
    rollback(showcase.project, showcase.params, None, lambda line: None)
    choose_run(showcase, showcase.retrained())
    for registered in (False, True):  # by the pipeline's own stage, as the challenger
        if registered:
            assert showcase.register_run(showcase.retrained()).aliases == ("challenger",)
        ruling = ask(showcase, act=True)
        assert (ruling.good, "version 2 (blind to () trace=0) was rolled back by" in ruling.headline) == (True, True)
        assert aliases(showcase)["champion"] == "1"


def test_a_forks_job_is_judged_by_the_floor_alone(showcase: Showcase, said: list[str]) -> None:
    showcase.set_params(reference="digits/1")
    choose(showcase, 1)
    ruling = run_gate(showcase.project, showcase.params, None, False, said.append)
    assert ruling.headline == "passed: lenet5 seed=1 would become the first champion"
    assert said[0] == "gate.reference digits/1: is not in this registry, which is empty; judged by the floor alone"


def test_a_clone_finds_its_registry_by_what_the_pipeline_left(showcase: Showcase, tmp_path: Path) -> None:
    folder, path = showcase.run(1), showcase.project.root / "results/registration.json"
    known = {"model": "digits", "run": folder.fingerprint, "weights_sha256": "0" * 64}
    uri = f"sqlite:///{tmp_path}/named.db"
    write_json(path, known | {"tracking_uri": uri})
    assert registry_uri(showcase.project) == tracking_uri(showcase.project)  # the run's own config, where it is here
    shutil.rmtree(folder.path)
    assert registry_uri(showcase.project) == uri
    for older in ({}, {"tracking_uri": None}):
        write_json(path, known | older)
        assert registry_uri(showcase.project) == tracking_uri(showcase.project)
