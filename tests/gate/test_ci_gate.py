"""`lenet gate`: worse fails; better, no better, unchanged and rolled back pass. Judging alone changes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lenet.core.atomic_io import write_json
from lenet.core.errors import ConfigError, LenetError
from lenet.core.project import Project
from lenet.gate.ci_gate import GATE_REPORT, GateReport, run_gate
from lenet.registry.rollback import rollback
from lenet.runs.run_dir import RunDir
from lenet.tracking.store import open_store
from showcase import MODEL, Showcase, aliases, make_champion


def choose(showcase: Showcase, *blind: int, trace: float = 0.0) -> None:
    """Leave what evaluation and training would, had they chosen a network that is blind to these classes."""
    choose_run(showcase, showcase.run(*blind, trace=trace))


def choose_run(showcase: Showcase, folder: RunDir) -> None:
    root = showcase.project.root
    out = root / "build/train/lenet5"
    (out / "seed-1").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder.path / "weights.safetensors", out / "seed-1/weights.safetensors")
    run = {
        "seed": 1,
        "config": showcase.config.tree(),
        "fingerprint": folder.fingerprint,
        "data_digest": folder.identity()["data_digest"],
        "weights_sha256": folder.status()["files"]["weights.safetensors"],
        "epochs": 1,
        "trained_by": ["the fused kernel"],
        "measures": {},
    }
    write_json(out / "runs.json", {"variant": "lenet5", "runs": [run]})
    write_json(root / "results/evaluation.json", {"choice": {"variant": "lenet5", "seed": 1}})


def no_register() -> None:
    raise AssertionError("the chosen network is registered already")


def judge(showcase: Showcase, uri: str | None = None) -> GateReport:
    return run_gate(showcase.project, showcase.params, uri, None)


def act(showcase: Showcase) -> GateReport:
    return run_gate(showcase.project, showcase.params, None, no_register)


def page(showcase: Showcase) -> str:
    return (showcase.project.root / GATE_REPORT).read_text()


@pytest.mark.parametrize(
    ("blind", "trace", "good", "headline", "failed"),
    [
        ((1,), 0.0, True, f"nothing to do: {MODEL} version 1 ", ()),
        ((1,), 0.5, True, f"no difference: {MODEL} version 1 ", ("difference",)),
        ((2,), 0.0, False, f"refused (classes, quality): {MODEL} version 1 ", ("classes", "quality")),
        ((1, 2, 3, 4), 0.0, False, "refused (floor, ", ("floor", "champion", "classes", "quality")),
        ((), 0.0, True, "passed: lenet5 seed=1 would become the champion", ()),
    ],
)
def test_judging_fails_for_worse_alone_and_changes_nothing(
    showcase: Showcase, blind: tuple[int, ...], trace: float, good: bool, headline: str, failed: tuple[str, ...]
) -> None:
    make_champion(showcase, 1)
    history = sorted((showcase.project.home / "promotions").iterdir())
    choose(showcase, *blind, trace=trace)
    report = judge(showcase)
    assert (report.good, report.headline[: len(headline)]) == (good, headline)
    assert report.result is not None
    assert report.result.decision.failed == failed
    assert page(showcase).startswith(f"# {headline[0].upper()}{headline[1:14]}")
    assert aliases(showcase) == {"champion": "1"}
    assert sorted((showcase.project.home / "promotions").iterdir()) == history


def test_no_better_passes(showcase: Showcase) -> None:
    showcase.set_params(alpha=0.0001)  # ten images more are not enough to be sure
    make_champion(showcase, 1)
    choose(showcase)
    report = judge(showcase)
    assert (report.good, report.headline.partition(":")[0]) == (True, "no better")
    assert "| quality | failed |" in page(showcase)


def test_acting_promotes_a_version_and_refuses_another(showcase: Showcase) -> None:
    make_champion(showcase, 1)
    showcase.register()
    showcase.register(1, 2, 3, 4)
    choose(showcase, 1, 2, 3, 4)
    assert not act(showcase).good
    assert aliases(showcase)["champion"] == "1"
    choose(showcase)
    assert act(showcase).headline == "promoted: version 2 is the champion, version 1 the previous one"
    assert aliases(showcase)["champion"] == "2"
    assert act(showcase).headline.startswith(f"nothing to do: {MODEL} version 2 ")
    rollback(showcase.project, showcase.params, None)
    back = act(showcase)
    assert back.good
    assert "was rolled back by" in back.headline
    assert aliases(showcase)["champion"] == "1"


def test_without_a_champion_the_floor_alone_is_checked(showcase: Showcase) -> None:
    showcase.set_params(reference=f"{MODEL}/1")  # a fork's registry has none
    choose(showcase, 1, 2, 3, 4)
    assert judge(showcase).headline == "refused (floor): there is no champion yet"
    choose(showcase, 1)
    report = judge(showcase)
    assert report.headline == "passed: lenet5 seed=1 would become the first champion"
    assert report.lines[-2:] == ("registry: mlflow.db of this home; no server is named", report.headline)


def test_a_champion_that_misses_a_new_floor_fails(showcase: Showcase) -> None:
    make_champion(showcase, 1)
    choose(showcase, 1)
    showcase.set_params(floor_error_percent=5)
    report = judge(showcase)
    assert (report.good, report.headline.partition(":")[0]) == (False, "refused (floor)")


def test_the_page_has_the_report_without_its_pictures(showcase: Showcase) -> None:
    choose(showcase, 1)
    report = showcase.project.root / "results/report.md"
    report.write_text("# LeNet-5 on tiny\n\n![a picture](plots/a.png)\n\n| variant |\n")
    judge(showcase)
    assert "| floor | passed | misclassifies 10 of 100 images" in page(showcase)
    assert "| variant |" in page(showcase)
    assert "plots/a.png" not in page(showcase)


def test_mistakes_are_one_line(showcase: Showcase, tmp_path: Path) -> None:
    with pytest.raises(LenetError, match=r"evaluation\.json: is missing; `dvc repro evaluate` makes it"):
        judge(showcase)
    choose(showcase, 1)
    with pytest.raises(ConfigError, match="leave --against out"):
        run_gate(showcase.project, showcase.params, f"sqlite:///{tmp_path}/other.db", no_register)
    for uri in (f"sqlite:///{tmp_path}/other.db", "sqlite:///other.db"):
        with pytest.raises(ConfigError, match=r"^--against: /.*/other\.db is missing"):
            judge(showcase, uri)
    (showcase.project.root / "build/train/lenet5/seed-1/weights.safetensors").write_bytes(b"another")
    with pytest.raises(LenetError, match="sha256"):
        judge(showcase)


def test_another_store_is_named_without_its_folder(showcase: Showcase, tmp_path: Path) -> None:
    make_champion(showcase, 1)
    choose(showcase)
    home, elsewhere = showcase.project.home, tmp_path / "elsewhere"
    elsewhere.mkdir()
    open_store(Project(home, elsewhere), f"sqlite:///{elsewhere}/other.db")
    report = judge(showcase, f"sqlite:///{elsewhere}/other.db")
    assert report.registry == "other.db, an SQLite store elsewhere"
    assert report.headline.endswith("would become the first champion")
    with pytest.raises(ConfigError, match="must be within the project's home"):
        judge(showcase, f"sqlite:///{os.path.relpath(elsewhere / 'other.db', home)}")
    assert judge(showcase, "sqlite:///mlflow.db").headline.endswith("would become the champion")


def test_the_same_run_trained_again_is_still_the_champion_or_rolled_back(showcase: Showcase) -> None:
    make_champion(showcase, 1)
    choose_run(showcase, showcase.retrained(1))
    for gate in (judge, act):
        assert gate(showcase).headline.startswith(f"nothing to do: {MODEL} version 1 (")
    showcase.register()
    choose(showcase)
    assert act(showcase).headline.startswith("promoted: version 2 ")
    rollback(showcase.project, showcase.params, None)
    choose_run(showcase, showcase.retrained())
    for is_registered in (False, True):  # by the register stage, as the challenger
        if is_registered:
            assert showcase.register_run(showcase.retrained()).aliases == ("challenger",)
        report = act(showcase)
        assert report.good
        assert "version 2 (blind to () trace=0) was rolled back by" in report.headline
        assert aliases(showcase)["champion"] == "1"
