"""A registered version has a model card: its own, once, whatever is registered or chosen later."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from evaluated import BASE, SEEDS, choose, evaluated, set_params
from lenet.config.params import Params
from lenet.config.schema import Config
from lenet.core.atomic_io import read_json
from lenet.core.errors import LenetError
from lenet.core.paths import EVALUATION, MODEL_CARD, QUALITY, REGISTRATION, REPORT_HTML, REPORT_MARKDOWN
from lenet.core.project import Project
from lenet.gate.ci_gate import GATE_REPORT, GateReport, run_gate
from lenet.gate.promote import promote
from lenet.pipeline.export import export_chosen
from lenet.pipeline.register import register_chosen, repair_registry
from lenet.registry.rollback import rollback
from lenet.registry.versions import CHALLENGER, CHAMPION, Version, read_versions
from lenet.report.build_report import write_report
from lenet.report.model_card import as_description, read_card_facts
from lenet.report.readme_table import END, README, START, results_table, write_readme_table
from lenet.tracking.store import open_store, tracking_uri


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def versions(project: Project) -> list[Version]:
    return read_versions(project, tracking_uri(project), "lenet5")


def gate_and_register(project: Project, params: Params) -> GateReport:
    return run_gate(project, params, None, partial(register_chosen, project, params))


def artifact(project: Project, version: Version) -> str:
    client = open_store(project, tracking_uri(project))
    return Path(client.download_artifacts(version.run_id, "model_card.md")).read_text(encoding="utf-8")


def test_each_version_has_the_card_of_its_own_run(
    project: Project, make_config: Callable[..., Config], said: list[str]
) -> None:
    runs = {config.seed: folder for config, folder in evaluated(project, make_config)[BASE]}
    params = set_params(project)
    cards = {}
    for number, seed in enumerate(SEEDS, 1):
        choose(project, BASE, seed)
        register_chosen(project, params)
        cards[number] = (project.root / MODEL_CARD).read_text(encoding="utf-8")
        assert cards[number].startswith(f"# Model card: lenet5 seed {seed}\n")
        assert runs[seed].fingerprint in cards[number]
        newest = versions(project)[-1]
        assert (newest.number, newest.run_name) == (str(number), f"lenet5 seed={seed}")
        assert newest.description == as_description(cards[number])
        assert artifact(project, newest) == cards[number]
    first, second = versions(project)
    assert first.aliases == (CHAMPION,)
    assert first.description == as_description(cards[1])  # the champion keeps its own

    # Asked again with the same, nothing changes; with other thresholds, the card does and no version is made.
    client = open_store(project, tracking_uri(project))
    before = client.get_model_version("lenet5", "2").last_updated_timestamp
    register_chosen(project, params)
    assert client.get_model_version("lenet5", "2").last_updated_timestamp == before
    register_chosen(project, set_params(project, floor_error_percent=98))
    changed = (project.root / MODEL_CARD).read_text(encoding="utf-8")
    assert "below 98 %" in changed
    assert [one.description for one in versions(project)] == [first.description, as_description(changed)]
    assert artifact(project, second) == changed

    # A registry that is lost gets the champion back from its run's folder, with its card.
    client.delete_registered_model("lenet5")
    register_chosen(project, set_params(project))
    again = {version.weights_sha256: version for version in versions(project)}
    assert CHAMPION in again[first.weights_sha256].aliases
    assert again[first.weights_sha256].description == as_description(cards[1])
    assert again[second.weights_sha256].description == as_description(cards[2])
    assert artifact(project, again[first.weights_sha256]) == cards[1]


def test_a_dvc_experiment_does_not_change_the_registry(
    project: Project, make_config: Callable[..., Config], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {config.seed: folder for config, folder in evaluated(project, make_config)[BASE]}
    params = set_params(project)
    (project.root / README).write_text(f"{START}\n{END}\n")
    choose(project, BASE, 1)
    register_chosen(project, params)
    before, history = versions(project), sorted((project.home / "promotions").iterdir())
    assert [one.aliases for one in before] == [(CHAMPION,)]

    choose(project, BASE, 2)
    with monkeypatch.context() as patch:
        patch.setenv("DVC_EXP_NAME", "sunny-otter")
        assert register_chosen(project, params) is None
        assert said[-1] == "lenet5: a DVC experiment does not change the registry"
        assert read_json(project.root / REGISTRATION)["run"] == runs[2].fingerprint
        assert (project.root / MODEL_CARD).read_text().startswith("# Model card: lenet5 seed 2\n")
        assert not (runs[2].path / "model_card.md").exists()
        repair_registry(project)
        for command in (
            lambda: promote(project, params, None, "new data"),
            lambda: rollback(project, params, None),
            lambda: gate_and_register(project, params),
            lambda: write_readme_table(project),
        ):
            with pytest.raises(LenetError, match="not in a DVC experiment"):
                command()
        assert run_gate(project, params, None, None).headline  # judging changes nothing
    assert versions(project) == before
    assert sorted((project.home / "promotions").iterdir()) == history
    assert (project.root / README).read_text() == f"{START}\n{END}\n"

    repair_registry(project)  # what was an experiment is the workspace's now
    assert [one.fingerprint for one in versions(project)] == [runs[1].fingerprint, runs[2].fingerprint]


@pytest.mark.parametrize(("floor", "good"), [(99.0, True), (0.01, False)])
def test_the_decision_about_the_first_champion_is_in_the_gates_report(
    project: Project, make_config: Callable[..., Config], said: list[str], floor: float, good: bool
) -> None:
    evaluated(project, make_config)
    choose(project, BASE, 1)
    report = gate_and_register(project, set_params(project, floor_error_percent=floor))
    assert report.good is good
    assert report.result is not None
    (check,) = report.result.decision.checks
    assert (check.name, check.passed) == ("floor", good)
    page = (project.root / GATE_REPORT).read_text(encoding="utf-8")
    assert f"| floor | {'passed' if good else 'failed'} | {check.line} |" in page
    assert versions(project)[0].aliases == (CHAMPION if good else CHALLENGER,)
    assert sum(line.startswith("predicting ") for line in said) == 1  # judged once


def test_an_evaluation_of_another_run_gives_no_card(
    project: Project, make_config: Callable[..., Config], said: list[str]
) -> None:
    folders = [folder for _, folder in evaluated(project, make_config)[BASE]]
    choose(project, BASE, 1)
    assert read_card_facts(project, set_params(project), folders[0])["own"]["seed"] == 1
    with pytest.raises(LenetError, match=r"results/evaluation\.json: is not about run [0-9a-f]{12}; `dvc repro"):
        read_card_facts(project, set_params(project), folders[1])
    # Where nothing beyond the error was measured, the card says less and nothing else.
    (project.root / QUALITY).unlink()
    facts = read_card_facts(project, set_params(project), folders[0])
    assert (facts["quality"], facts["distortions"]) == (None, [])


def test_the_report_answers_first_and_every_figure_leads_to_its_runs(
    project: Project, make_config: Callable[..., Config], said: list[str]
) -> None:
    trained = evaluated(project, make_config)
    params = set_params(project)
    export_chosen(project, params)
    register_chosen(project, params)
    write_report(project, params)
    evaluation = read_json(project.root / EVALUATION)
    text = (project.root / REPORT_MARKDOWN).read_text(encoding="utf-8")
    head, *sections = text.split("\n## ")
    assert head.splitlines()[2].startswith(f"{evaluation['choice']['variant']} was chosen: ")
    assert sections[0].startswith("Is it chance?")
    assert results_table(evaluation) in text
    shorts = {folder.short for runs in trained.values() for _, folder in runs}
    for section in sections[:-1]:
        named = re.findall(r"\b[0-9a-f]{12}\b", section.rpartition("\nRuns: ")[2])
        assert named, section
        assert set(named) <= shorts
    assert "\n## Export\n" in text
    page = (project.root / REPORT_HTML).read_text(encoding="utf-8")
    links, targets = re.findall(r'href="#(run-[^"]+)"', page), re.findall(r'id="(run-[^"]+)"', page)
    assert set(links) == set(targets) == {f"run-{short}" for short in shorts}
    assert not re.search(r"(src|href)=[\"']?https?:", page)


def test_the_registry_that_the_config_names(
    project: Project, make_config: Callable[..., Config], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def make(**knobs: Any) -> Config:
        return make_config(tracking__uri="sqlite:///named.db", **knobs)

    ((_, folder), *_) = evaluated(project, make)[BASE]
    choose(project, BASE, 1)
    params = set_params(project)

    def refuse(*values: object, **named: object) -> None:
        raise MlflowException("Permission denied", error_code=PERMISSION_DENIED)

    with monkeypatch.context() as patch:  # a server whose account may write runs and no versions
        patch.setattr(MlflowClient, "create_model_version", refuse)
        with pytest.raises(LenetError, match=r"^MLflow at .*: Permission denied; the account lacks the right: set "):
            register_chosen(project, params)

    # Nothing says yet where the chosen network is registered: one line, and it is right when asked again.
    shutil.move(folder.path, project.home / "away")
    with pytest.raises(
        LenetError, match=r"^lenet5: was registered in another store than mlflow\.db; run the command again"
    ):
        gate_and_register(project, params)
    assert read_json(project.root / REGISTRATION)["tracking_uri"] == "sqlite:///named.db"
    assert gate_and_register(project, params).headline.startswith("nothing to do: lenet5 version 1 (")
    shutil.rmtree(project.runs)  # a clone
    report = run_gate(project, params, None, None)
    assert report.headline.startswith("nothing to do: lenet5 version 1 (")
    assert report.registry.startswith("named.db ")
