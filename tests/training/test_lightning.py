"""In a process of its own: what this one imported does not count."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import lenet.training.fit
assert "torch._dynamo" not in sys.modules
import torch
from pytorch_lightning.utilities.compile import from_compiled  # Lightning goes on with what it has
assert torch._dynamo.OptimizedModule.__module__ == "torch._dynamo.eval_frame"
compiled = torch.compile(lambda one: 2 * one, backend="eager")
assert compiled(torch.ones(3)).tolist() == [2.0, 2.0, 2.0]
"""
WITH_TORCHVISION = """
import lenet.training.fit
import torchvision
"""
ANY_NAME = """
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
"""


def python(program: str, **environment: str) -> None:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lightning_leaves_torchs_compiler_out_until_somebody_needs_it() -> None:
    python(PROGRAM)


def test_torchvision_which_torchmetrics_imports_has_the_parts_of_the_compiler_that_it_needs(tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(f"from torch._dynamo.utils import is_compile_supported\n{ANY_NAME}")
    (package / "models.py").write_text(ANY_NAME)
    metadata = tmp_path / "torchvision-0.26.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.26.0\n")
    python(WITH_TORCHVISION, PYTHONPATH=str(tmp_path))
