"""Load the compiled kernel that suits this processor best."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lenet.core.errors import LenetError
from lenet.kernels.levels import LEVELS, Level, digests

LEVEL_VARIABLE = "LENET_KERNEL_LEVEL"
"""In the environment: the level to load in place of the best, such as avx2; the results are the same."""

COMPILE = "`pip install --editable .` compiles it"


class Missing(NamedTuple):
    """Why there is no kernel to load, in a few words."""

    reason: str


class Kernel(NamedTuple):
    """A loaded kernel, and the level that it is compiled for."""

    functions: ctypes.CDLL
    level: str


@cache
def load_kernel() -> Kernel | Missing:
    """Return the kernel of the fastest level that this processor has and that was compiled, or why there is none.

    Raises:
        LenetError: a compiled kernel is damaged, or older than its sources.
    """
    wanted = os.environ.get(LEVEL_VARIABLE)
    reason = f"there is none for this processor, {platform.system()} on {platform.machine()}"
    for level in suitable_levels():
        if wanted not in {None, level.name}:
            continue
        try:
            _check(level)
            return Kernel(ctypes.CDLL(str(compiled_file(level))), level.name)
        except OSError as error:  # not compiled, or for another C library
            reason = f"it cannot be loaded ({error}); {COMPILE}"
    return Missing(reason)


def suitable_levels() -> list[Level]:
    """Return the levels that this processor has, the fastest first."""
    path, features = Path("/proc/cpuinfo"), ""
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        features = next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    levels = LEVELS.get((platform.system(), platform.machine()), ())
    return [level for level in levels if level.features <= set(features.split())]


def _check(level: Level) -> None:
    """Compare digests: loading a file that is cut short ends Python by a signal."""
    file = compiled_file(level)
    if digests(file.parent, file) != file.with_name(level.digests_file).read_text(encoding="utf-8"):
        raise LenetError(f"{file} is damaged, or older than its sources; {COMPILE}")


def trained_by(kernel: str) -> str:
    """Return what a run's record says of its arithmetic: `torch`, or `fused (avx2)`."""
    loaded = load_kernel() if kernel == "fused" else None
    return f"{kernel} ({loaded.level})" if isinstance(loaded, Kernel) else kernel


def compiled_file(level: Level) -> Path:
    """Return where the compiled kernel of a level lies, or would lie."""
    return Path(__file__).with_name(level.file)
