"""`dvc exp run`, in a temporary folder and in the workspace: its register stage does not change the registry."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable

import pytest
import yaml
from shell import Shell

from evaluated import BASE, choose, evaluated, set_params
from lenet.config.schema import Config
from lenet.core.paths import REGISTRATION
from lenet.core.project import Project
from lenet.pipeline.register import register_chosen
from lenet.registry.versions import read_versions
from lenet.tracking.store import tracking_uri

STAGE = {
    "cmd": "exec lenet register",
    "deps": ["params.yaml", "results/evaluation.json"],
    "outs": [{name: {"cache": False}} for name in ("results/model_card.md", "results/registration.json")],
}
IGNORED = ("runs", "mlflow.db*", "mlartifacts", "promotions")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_experiments_move_no_alias_and_register_nothing(
    project: Project, make_config: Callable[..., Config], said: list[str]
) -> None:
    runs = {config.seed: folder for config, folder in evaluated(project, make_config)[BASE]}
    choose(project, BASE, 1)
    register_chosen(project, set_params(project))
    before = read_versions(project, tracking_uri(project), "lenet5")
    (project.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"register": STAGE}}))
    (project.root / ".gitignore").write_text("".join(f"/{name}\n" for name in IGNORED))
    shell = Shell(project.root, project.home, {"PYTHONPATH": os.environ.get("PYTHONPATH", "")})
    git = "git -c user.name=test -c user.email=test@example.org"
    shell.run(f"git init -q && dvc init -q && dvc config core.analytics false && git add -A && {git} commit -qm one")
    choose(project, BASE, 2)
    shell.run(f"git add -A && {git} commit -qm two")

    identity = {f"GIT_{who}_{what}": "test@e.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {name: value for name, value in (shell.variables() | identity).items() if name != "LENET_HOME"}
    for where in ("--temp", ""):
        done = subprocess.run(
            ["bash", "-c", f"dvc exp run {where} -S params.yaml:gate.floor_error_percent=98"],
            cwd=project.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "lenet5: a DVC experiment does not change the registry" in done.stdout + done.stderr
        assert read_versions(project, tracking_uri(project), "lenet5") == before
    assert json.loads((project.root / REGISTRATION).read_text())["run"] == runs[2].fingerprint
