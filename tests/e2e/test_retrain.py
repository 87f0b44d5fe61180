"""The steps of retrain.yaml in fresh clones, against a real MLflow server with accounts and a DVC remote."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from mlflow_server import READER, WRITER, Server, mlflow_server
from shell import Shell, copy_project

from github import GitHub
from workflow import Job, Outcome

STEP_SECONDS = 280
GIT = "git -c user.name=test -c user.email=test@example.org"
KEPT = ("results", "build/conf")
"""Of the artifact: the folders that one commits with a change, beside dvc.lock."""

RATES = {"weak": 1e-5, "middling": 5e-4, "strong": 2e-3}
"""After one pass over the tiny set some 98, 12 to 24, and 0 % are misread."""


@dataclass(frozen=True)
class Runner:
    """Runs a workflow's jobs as GitHub would, each in a fresh clone with nothing from a cache but the venv."""

    origin: Path
    server: Server
    github: GitHub
    folder: Path

    def commit(self, variants: list[str], outcomes: Path | None = None) -> None:
        """Change the variants, and commit what a job kept."""
        path = self.origin / "params.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"variants": variants}, sort_keys=False))
        if outcomes is not None:
            for folder in KEPT:
                shutil.rmtree(self.origin / folder)
                shutil.copytree(outcomes / folder, self.origin / folder)
            shutil.copyfile(outcomes / "dvc.lock", self.origin / "dvc.lock")
        Shell(self.origin, self.origin).run(f"git add -A && {GIT} commit -qm change")

    def contexts(self, event: str, is_known: bool = True) -> dict[str, str]:
        """What expressions know; a fork's pull request knows no secret."""
        main = event == "push"
        known = {"github.ref": "refs/heads/main" if main else "refs/pull/7/merge", "github.event_name": event}
        known |= {"github.token": "secret", "github.event.pull_request.number": "7", "github.repository": "me/lab"}
        known |= {"steps.venv.outputs.cache-hit": "true"}
        secrets = {"MLFLOW_TRACKING_URI": self.server.uri, "DVC_REMOTE_URL": str(self.folder / "remote")}
        secrets |= dict(zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), WRITER, strict=True))
        secrets |= dict(zip(("MLFLOW_READER_USERNAME", "MLFLOW_READER_PASSWORD"), READER, strict=True))
        return known | ({f"secrets.{name}": value for name, value in secrets.items()} if is_known else {})

    def clone(self, name: str) -> Path:
        root = self.folder / name
        subprocess.run(["git", "clone", "-q", self.origin, root], check=True)
        (root / ".venv").mkdir()
        (root / ".venv/bin").symlink_to(Path(sys.executable).parent)
        (root / ".venv/.installed").touch()
        return root

    def run(self, name: str, event: str, is_known: bool = True) -> tuple[Path, dict[str, Outcome]]:
        """Run both jobs for an event; return the clone, and what came of each step by its name."""
        root = self.clone(name)
        workflow, contexts = root / ".github/workflows/retrain.yaml", self.contexts(event, is_known)
        outcomes = self.steps(root, Job.read(workflow, "retrain", contexts))
        if event == "pull_request" and is_known:
            (root / "kept").mkdir()
            if (root / "results").is_dir():  # what upload-artifact and download-artifact do
                shutil.copytree(root / "results", root / "kept/results")
            outcomes |= self.steps(root, Job.read(workflow, "comment", contexts))
        return root, outcomes

    def steps(self, root: Path, job: Job) -> dict[str, Outcome]:
        outcomes = {}
        variables = {name: value for name, value in Shell(root, root).variables().items() if name != "LENET_HOME"}
        variables |= {"GITHUB_STEP_SUMMARY": str(root / "summary.md"), "GITHUB_API_URL": self.github.url}
        variables |= {"GITHUB_REPOSITORY": "me/lab", "GITHUB_RUN_ID": "1", "CI": "true", "OMP_NUM_THREADS": "1"}
        for step in job.steps:
            if "run" not in step:
                continue
            if not job.is_wanted(step):
                outcomes[step["name"]] = Outcome(step["name"], "skipped", "")
                continue
            env = variables | {key: job.fill(value) for key, value in step.get("env", {}).items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", job.fill(step["run"])],
                cwd=root,
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=STEP_SECONDS,
                check=False,
            )
            job.failed |= done.returncode != 0
            conclusion = "failure" if done.returncode else "success"
            outcomes[step["name"]] = Outcome(step["name"], conclusion, done.stdout)
        return outcomes


def make_origin(root: Path, tiny_data: Path) -> None:
    """A repository with the tiny data set, three variants of known merit and small budgets."""
    copy_project(root)
    shutil.copyfile(tiny_data / "conf/data/tiny.yaml", root / "conf/data/tiny.yaml")
    for name, rate in RATES.items():
        body = {"name": name, "optimizer": {"learning_rate": rate}, "trainer": {"epochs": 1}}
        text = f"# @package _global_\n{yaml.safe_dump(body, sort_keys=False)}"
        (root / f"conf/experiment/{name}.yaml").write_text(text)
    search = yaml.safe_load((root / "conf/search/recipe.yaml").read_text()) | {"name": "hopeless", "epochs": 1}
    search |= {"first_epoch": 1, "pruner": "none", "sampler": "random"}
    search["space"] = {"optimizer": {"learning_rate": {"low": 1e-6, "high": 1e-5, "log": True}}}
    (root / "conf/search/hopeless.yaml").write_text(yaml.safe_dump(search, sort_keys=False))
    params = yaml.safe_load((root / "params.yaml").read_text())
    params |= {"data": "tiny", "seeds": [1], "overrides": ["trainer=cpu", "trainer.batch_size=50", "trainer.epochs=1"]}
    params["search"] |= {"name": "hopeless", "trials": 1, "workers": 1}
    params["refit"] |= {"candidates": 1, "seeds": [3], "confirm": [1, 2], "baseline": "weak"}
    params["gate"] |= {"margin_points": 10, "floor_error_percent": 40}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture
def runner(tmp_path: Path, tiny_data: Path) -> Iterator[Runner]:
    origin = tmp_path / "origin"
    make_origin(origin, tiny_data)
    github = GitHub()
    threading.Thread(target=github.serve_forever, daemon=True).start()
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server") as server:
        yield Runner(origin, server, github, tmp_path)
    github.shutdown()
    github.server_close()


HISTORY = "remove main's history of promotions"
"""A step of other branches alone."""


def conclusions(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: one.conclusion for name, one in outcomes.items()}


@pytest.mark.long
@pytest.mark.timeout(1200)  # some fifty commands
@pytest.mark.timeout(900)
def test_from_the_first_run_to_a_rollback(runner: Runner) -> None:
    green = dict.fromkeys(("install", "pull", "retrain", "summary", "push"), "success") | {HISTORY: "skipped"}
    runner.commit(["weak", "middling"])

    first, outcomes = runner.run("first", "push")
    assert conclusions(outcomes) == green, outcomes["retrain"].said
    assert "promoted: version 1 is the champion" in outcomes["retrain"].said
    assert "View run" not in outcomes["retrain"].said  # MLflow's own lines, three a run
    assert runner.server.registry("lenet5") == {"champion": "1"}
    assert "lenet5 version 1 (middling seed=1) is the champion" in (first / "summary.md").read_text()
    assert (runner.folder / "remote/files").is_dir()
    runner.server.let_read("tiny", "lenet5")

    runner.commit(["weak", "middling"], first)
    _, outcomes = runner.run("unchanged", "push")
    assert conclusions(outcomes) == green, outcomes["retrain"].said
    assert "Data and pipelines are up to date." in outcomes["retrain"].said
    assert "nothing to do: lenet5 version 1 (middling seed=1) is the champion" in outcomes["retrain"].said
    assert runner.server.registry("lenet5") == {"champion": "1"}

    runner.commit(["weak"])
    _, outcomes = runner.run("worse", "pull_request")
    assert conclusions(outcomes)["retrain"] == "failure"
    assert (outcomes["push"].conclusion, outcomes["comment"].said) == ("skipped", "comment: created\n")
    assert "refused (floor, champion, " in outcomes["retrain"].said
    assert runner.github.comments[0]["body"].splitlines()[1].startswith("# Refused (floor, champion, ")
    assert runner.server.registry("lenet5") == {"champion": "1"}

    runner.commit(["weak", "middling"])
    _, outcomes = runner.run("mended", "pull_request")
    others = green | {HISTORY: "success", "push": "skipped", "comment": "success"}
    assert conclusions(outcomes) == others, outcomes["retrain"].said
    assert outcomes["comment"].said == "comment: updated\n"
    assert len(runner.github.comments) == 1
    assert runner.github.comments[0]["body"].splitlines()[1].startswith("# Nothing to do: lenet5 version 1 ")

    runner.commit(["weak", "strong"])
    better, outcomes = runner.run("better", "push")
    assert conclusions(outcomes) == green, outcomes["retrain"].said
    assert "promoted: version 2 is the champion, version 1 the previous one" in outcomes["retrain"].said
    assert runner.server.registry("lenet5") == {"champion": "2", "previous": "1"}

    account = {"MLFLOW_TRACKING_URI": runner.server.uri}
    account |= dict(zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), WRITER, strict=True))
    anywhere = Shell(runner.clone("anywhere"), runner.folder / "home", account)
    assert "version 2 is rolled back" in anywhere.run("lenet rollback --reason 'the field was at fault'").stdout
    assert runner.server.registry("lenet5") == {"champion": "1"}

    runner.commit(["weak", "strong"], better)
    _, outcomes = runner.run("after", "push")
    assert conclusions(outcomes) == green, outcomes["retrain"].said
    assert "nothing to do: lenet5 version 2 (strong seed=1) was rolled back by " in outcomes["retrain"].said
    assert runner.server.registry("lenet5") == {"champion": "1"}
