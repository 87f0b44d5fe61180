"""The processors that the kernels are compiled for, and how; setup.py reads this file, which needs no other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

SOURCES = ("lenet5.c", "lenet5_1998.c")
COMPILER = "ziglang==0.17.1"
"""A build requirement: clang with the headers of every system, from the Python index."""

FLAGS = ("-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-shared", "-fPIC", "-s")
"""Never -ffast-math, and no fused multiply-add that the source does not write: both would change bits."""


class Level(NamedTuple):
    """A processor level.

    Attributes:
        name: part of the compiled file's name.
        target: the compiler's name of the system; glibc 2.28 is that of the oldest systems that torch runs on.
        cpu: the compiler's name of the processor.
        features: what /proc/cpuinfo lists of a processor that has it.
    """

    name: str
    target: str
    cpu: str
    features: frozenset[str] = frozenset()

    @property
    def file(self) -> str:
        """Name of the compiled file, beside the source."""
        return f"lenet5-{self.name}.so"

    @property
    def digests_file(self) -> str:
        """Name of the file beside it that says what it was compiled from, in the form of `sha256sum`."""
        return f"lenet5-{self.name}.sha256"

    def command(self, sources: list[str], into: str) -> list[str]:
        """Return the compiler's arguments."""
        libraries = ["-lm", "-lpthread"]
        return ["cc", *FLAGS, "-target", self.target, f"-mcpu={self.cpu}", *sources, "-o", into, *libraries]


def digests(sources: Path, compiled: Path) -> str:
    """Return the digests of the C sources in a folder and of the file compiled from them, in the form of `sha256sum`.

    Raises:
        OSError: a file cannot be read.
    """
    files = [compiled, *sorted(sources.glob("*.[ch]"))]
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


_AVX2 = frozenset({"avx2", "bmi1", "bmi2", "fma", "f16c", "movbe"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
LEVELS: dict[tuple[str, str], tuple[Level, ...]] = {
    ("Linux", "x86_64"): (
        Level("avx512", "x86_64-linux-gnu.2.28", "x86_64_v4", _AVX512),
        Level("avx2", "x86_64-linux-gnu.2.28", "x86_64_v3", _AVX2),
    ),
    ("Linux", "aarch64"): (Level("neon", "aarch64-linux-gnu.2.28", "generic"),),
    ("Darwin", "arm64"): (Level("neon", "aarch64-macos", "apple_m1"),),
}
"""By `platform.system()` and `platform.machine()`, the fastest first. Elsewhere torch does the work."""
