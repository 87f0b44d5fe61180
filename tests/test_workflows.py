"""The workflows are what GitHub takes, safe by zizmor's book, and pinned; GitLab is told the same commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow import Job

REPOSITORY = Path(__file__).parents[1]
WORKFLOWS = sorted((REPOSITORY / ".github/workflows").glob("*.yaml"))
RETRAIN = REPOSITORY / ".github/workflows/retrain.yaml"


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / words[0]
    if not program.exists():
        pytest.skip(f"{words[0]} is not installed here: make install")
    return subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)


def test_github_takes_them() -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    done = run("zizmor", "--offline", "--no-progress", *WORKFLOWS)
    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"uses: *(.*)", path.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+(/[\w-]+)?@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_same_action_is_the_same_commit_everywhere() -> None:
    used = {tuple(found) for path in WORKFLOWS for found in re.findall(r"uses: *(\S+)@(\S+)", path.read_text())}
    assert len(used) == len({name for name, _ in used})
    caches = {commit for name, commit in used if name.startswith("actions/cache")}
    assert len(caches) == 1


def test_what_was_begun_is_kept_for_the_next_job_whatever_became_of_this_one() -> None:
    job = Job.read(RETRAIN, "retrain", {"github.run_id": "7", "github.run_attempt": "2"})
    names = [step.get("uses", "").partition("@")[0] or step.get("name") for step in job.steps]
    save, restore = (job.steps[names.index(f"actions/cache/{what}")] for what in ("save", "restore"))
    assert names.index("actions/cache/restore") < names.index("retrain") < names.index("actions/cache/save")
    job.failed = True
    assert job.is_wanted(save)
    assert save["with"]["path"] == restore["with"]["path"]
    kept = save["with"]["path"].split()
    assert kept == [".dvc/cache", "runs", "searches", "promotions"]
    # A key is saved once: one of its own for each attempt, and the newest of all is brought.
    assert job.fill(save["with"]["key"]) == job.fill(restore["with"]["key"]) == "runs-7-2"
    assert restore["with"]["restore-keys"] == "runs-"
    (block,) = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs/ci.md").read_text(), flags=re.DOTALL)
    cache = yaml.safe_load(block)["retrain"]["cache"]
    assert set(kept) <= set(cache["paths"])
    assert cache["when"] == "always"


def test_expressions_are_evaluated_as_on_github() -> None:
    job = Job([], {"github.ref": "refs/heads/main", "secrets.KEY": "k"})
    assert job.fill("${{ github.ref == 'refs/heads/main' && secrets.KEY || '' }}") == "k"
    assert job.fill("a-${{ github.ref != 'refs/heads/main' && '1' || secrets.NONE }}") == "a-"
    assert job.is_wanted({"if": "${{ !cancelled() && (github.ref == 'x' || secrets.KEY) }}"})
    job.failed = True
    assert not job.is_wanted({"if": "${{ github.ref == 'refs/heads/main' }}"})
    assert not job.is_wanted({})
    assert job.is_wanted({"if": "${{ !cancelled() }}"})


def test_secrets_that_write_stay_on_main() -> None:
    secrets = ("URI", "USERNAME", "PASSWORD")
    contexts = {f"secrets.MLFLOW_TRACKING_{name}": f"writer's {name}" for name in secrets}
    contexts |= {f"secrets.MLFLOW_READER_{name}": f"reader's {name}" for name in secrets[1:]}
    for ref, promote, account in (("refs/heads/main", "1", "writer's"), ("refs/pull/1/merge", "", "reader's")):
        job = Job.read(RETRAIN, "retrain", contexts | {"github.ref": ref})
        (step,) = (step for step in job.steps if step.get("name") == "retrain")
        env = {name: job.fill(value) for name, value in step["env"].items()}
        assert (env["PROMOTE"], env["MLFLOW_TRACKING_USERNAME"]) == (promote, f"{account} USERNAME")
        assert (env["MLFLOW_TRACKING_URI"], env["AGAINST"])[:: 1 if promote else -1] == ("writer's URI", "")
        (push,) = (step for step in job.steps if step.get("name") == "push")
        assert job.is_wanted(push) == bool(promote)


def test_permissions_are_least() -> None:
    tree = yaml.safe_load(RETRAIN.read_text())
    assert tree["permissions"] == {}
    assert tree["jobs"]["retrain"]["permissions"] == {"contents": "read"}
    assert tree["jobs"]["comment"]["permissions"] == {"contents": "read", "pull-requests": "write"}


def test_gitlab_runs_the_same_commands() -> None:
    page = (REPOSITORY / "docs/ci.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    job = yaml.safe_load(block)["retrain"]
    steps = yaml.safe_load(RETRAIN.read_text())["jobs"]["retrain"]["steps"]
    commands = {
        line for step in steps for line in str(step.get("run", "")).splitlines() if line.startswith(("make", "."))
    }
    assert commands == {"make install", "make retrain", ".ci/remote pull", ".ci/remote push"}
    assert commands <= {word.strip() for line in job["script"] for word in re.split(r";|&&|\bthen\b|\bfi\b", line)}
