"""What a user has: a fresh copy of the project, and a shell in its venv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS = 240
GIT = "git -c user.name=test -c user.email=test@example.org"

SMALL = ("trainer.epochs=2", "data.train_size=2000", "trainer.checkpoint_seconds=0")
"""A training of a second or two that is real all the same."""

QUESTION = "python train.py -m model.activation=tanh,relu"
FILTER = "lenet runs model.activation=relu"
"""What the README types, and with it test_train.py; test_readme.py compares."""


@dataclass(frozen=True)
class Shell:
    """Runs what a user types, in a project and with a home of its own."""

    root: Path
    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        bin_folder = str(Path(sys.executable).parent)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LENET_", "MLFLOW_", "DVC_"))}
        own = {"LENET_HOME": str(self.home), "PATH": f"{bin_folder}{os.pathsep}{kept['PATH']}"}
        own["PYTHONPATH"] = str(self.root / "src")  # the copy's code, not that of the checkout the venv installed
        return kept | own | self.environment

    def run(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.root,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command.split(),
            cwd=self.root,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run_folders(self) -> list[Path]:
        return [path for path in (self.home / "runs").glob("*") if len(path.name) == 64]


def copy_project(target: Path) -> Path:
    """Copy what git has of the project, and what it would have, to a folder with a history of its own."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    compiled = [str(path.relative_to(ROOT)) for path in ROOT.glob("src/lenet/kernels/lenet5-*")]
    for name in [*filter(None, listed.split("\0")), *compiled]:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    subprocess.check_call(["bash", "-c", f"git init -q && git add -A && {GIT} commit -qm 'a copy'"], cwd=target)
    return target


def add_tiny_data(root: Path, tiny_data: Path) -> None:
    """Add the tiny data set's config to a copy of the project; it names the folder of the raw files."""
    shutil.copyfile(tiny_data / "conf/data/tiny.yaml", root / "conf/data/tiny.yaml")
