"""Whatever a command prints, writes, sends or is called with: the passwords of its URLs are in none of it."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from postgresql import postgresql
from shell import ROOT, Shell

from lenet.core.project import Project
from rude_mlflow import ACCOUNT, mlflow_with_account

STUDY_PASSWORD = "s3cret-of-the-study"
SECRETS = (ACCOUNT[1], STUDY_PASSWORD)
TINY = "data=tiny trainer.epochs=1 trainer.batch_size=50 trainer.threads=1"
SEARCH = {
    "name": "tiny",
    "base": ["experiment=lenet5_relu", "data=tiny", "trainer.batch_size=50"],
    "trials": 2,
    "epochs": 1,
    "first_epoch": 1,
    "workers": 1,
    "space": {"optimizer": {"learning_rate": {"low": 0.001, "high": 0.02, "log": True}}},
}


@pytest.fixture
def tiny(project: Project) -> Shell:
    """A shell in the tiny project, with a small search in conf/."""
    shutil.copyfile(ROOT / "train.py", project.root / "train.py")
    recipe = yaml.safe_load((project.conf / "search" / "recipe.yaml").read_text())
    (project.conf / "search" / "tiny.yaml").write_text(yaml.safe_dump(recipe | SEARCH))
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    (project.root / "params.yaml").write_text(yaml.safe_dump(params | {"data": "tiny"}))
    return Shell(project.root, project.home, {"PYTHONPATH": str(ROOT / "src")})


class CommandLines:
    """Looks, until it is told to end, whether any process of this machine shows a secret on its command line."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_bytes().decode(errors="replace").replace("\0", " ")
                except OSError:
                    continue
                if any(secret in words for secret in SECRETS):
                    self.seen.add(words)
            time.sleep(0.2)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def watched() -> Iterator[CommandLines]:
    lines = CommandLines()
    yield lines
    lines.end()


def holding_a_secret(*folders: Path) -> list[Path]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(secret.encode() in path.read_bytes() for secret in SECRETS)]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_no_password_is_printed_written_sent_or_shown(tiny: Shell, tmp_path: Path, watched: CommandLines) -> None:
    kept = tmp_path / "server"
    kept.mkdir()
    with mlflow_with_account(kept) as uri, postgresql() as database:
        if database is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        address = uri.replace("://", f"://{ACCOUNT[0]}:{ACCOUNT[1]}@")
        study = database.url.replace("lenet@", f"lenet:{STUDY_PASSWORD}@")  # the server trusts any
        shell = Shell(
            tiny.root,
            tiny.home,
            {**tiny.environment, "MLFLOW_TRACKING_URI": address, "LENET_STUDY_STORAGE": study},
        )
        said = shell.run(f"python train.py -m {TINY} seed=1,2")
        assert f"compare: {uri.replace('://', f'://{ACCOUNT[0]}@')}/#/experiments/" in said.stdout
        searched = shell.run("lenet search search=tiny")
        assert "in postgresql+psycopg://lenet@127.0.0.1:" in searched.stderr
        runs = [path.name for path in shell.run_folders()]
        rest = [
            shell.run(command, check=False)
            for command in (
                f"python train.py -m {TINY} hydra/sweeper=optuna hydra.sweeper.n_trials=1 model.activation=tanh,relu",
                "lenet sync",
                "lenet ui",
                'lenet gate --against "$MLFLOW_TRACKING_URI"',
                f"lenet compare {runs[0]} {runs[1]}",
                "lenet registry --json",
                "lenet doctor",
            )
        ]
        assert watched.seen == {words for words in watched.seen if "--against" in words}  # what a user typed himself
        refused = [
            shell.run(command, check=False)
            for command in (
                f"python train.py {TINY} seed=3 'tracking.uri={address}'",
                f"lenet search search=tiny 'search.storage=\"{study}\"'",
                f"python train.py -m {TINY} seed=3,4 hydra/sweeper=optuna 'hydra.sweeper.storage=\"{study}\"'",
            )
        ]
        for one in refused:
            assert one.returncode == 2
            assert "has a password, and a config is kept and shown" in one.stderr
            assert len(one.stderr.splitlines()) == 1
    everything = "".join(one.stdout + one.stderr for one in (said, searched, *rest, *refused))
    assert "Traceback" not in everything
    assert not any(secret in everything for secret in SECRETS)
    assert len(list(kept.rglob("*"))) > 10
    assert holding_a_secret(shell.root, shell.home, kept) == []
