"""In a process of its own: what this one imported does not count."""

from __future__ import annotations

import subprocess
import sys

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


def test_lightning_leaves_torchs_compiler_out_until_somebody_needs_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
