"""Load the compiled kernel that suits this processor best."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lenet.kernels.levels import LEVELS, Level

LEVEL_VARIABLE = "LENET_KERNEL_LEVEL"
"""In the environment: the level to load in place of the best, such as avx2; the results are the same."""


class Missing(NamedTuple):
    """Why there is no kernel to load, in a few words."""

    reason: str


class Kernel(NamedTuple):
    """A loaded kernel, and the level that it is compiled for."""

    functions: ctypes.CDLL
    level: str


@cache
def load_kernel() -> Kernel | Missing:
    """Return the kernel of the fastest level that this processor has and that was compiled, or why there is none."""
    levels = LEVELS.get((platform.system(), platform.machine()), ())
    if not levels:
        return Missing(f"none is compiled for {platform.system()} on {platform.machine()}")
    wanted, features = os.environ.get(LEVEL_VARIABLE), _features()
    fitting = [one for one in levels if wanted in {None, one.name} and one.features <= features]
    if not fitting:
        return Missing(f"none is compiled for a processor without {levels[-1].name if wanted is None else wanted}")
    reason = ""
    for level in fitting:
        try:
            return Kernel(ctypes.CDLL(str(compiled_file(level))), level.name)
        except OSError as error:  # not compiled, or for another C library
            reason = str(error)
    return Missing(f"it cannot be loaded ({reason}); `pip install --editable .` compiles it")


def compiled_file(level: Level) -> Path:
    """Return where the compiled kernel of a level lies, or would lie."""
    return Path(__file__).with_name(level.file)


def _features() -> frozenset[str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return frozenset()
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
