"""The commit, the versions and the machine that a run is trained with."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RECORDED_VERSIONS = ("torch", "pytorch-lightning", "torchmetrics", "hydra-core", "mlflow", "dvc", "numpy")
GIT_SECONDS = 10
WRITTEN = ("build", "dvc.lock", "results")
"""Paths in git that the pipeline itself writes: they do not make the commit of its runs dirty."""


def git_state(root: Path) -> dict[str, Any]:
    """Return the checkout's commit and whether tracked files differ from it; None for both outside git.

    What the pipeline writes, `WRITTEN`, does not count: DVC removes a stage's outs before it runs.
    """
    commit = _git(root, "rev-parse", "HEAD")
    left_out = [f":(exclude,top){name}" for name in WRITTEN]
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ":(top)", *left_out)
    return {"commit": commit, "dirty": bool(changes) if commit else None}


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Return the versions of what trains and tracks."""
    found = {"python": platform.python_version()}
    for name in RECORDED_VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def device_name(accelerator: str) -> str:
    """Return the name of what trains: the GPU's, or the processor's."""
    if accelerator == "gpu":
        import torch

        return str(torch.cuda.get_device_name(0))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()} × {os.cpu_count()}"


def user() -> str:
    """Return the name of the user, or their number where they have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
