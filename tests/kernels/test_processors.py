"""The kernel compiled for processors that are not here: the same bits under QEMU's emulation.

Needs the compiler of the build and QEMU's user mode; .ci/run installs both:

    python -m pip install --target build/compiler ziglang==0.17.1     # at the version of kernels/levels.py
    apt-get install qemu-user
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lenet.kernels.levels import COMPILER, FLAGS

ROOT = Path(__file__).parents[2]
PROGRAMS = {"steps": 25, "steps_1998": 48}
"""Networks that each program trains, a line each."""

SHARED = ("-shared", "-fPIC")
FOLDER = ROOT / "build" / "compiler"

TARGETS = {
    "avx512": ("x86_64-linux-musl", "x86_64_v4", ()),
    "avx2": ("x86_64-linux-musl", "x86_64_v3", ()),
    "aarch64": ("aarch64-linux-musl", "generic", ("qemu-aarch64",)),
}
"""The system and the processor by the compiler's names, and what runs the program."""

pytestmark = pytest.mark.skipif(
    not (FOLDER / "ziglang").is_dir(), reason=f"{COMPILER} is not in build/compiler; .ci/run installs it"
)


def digests(name: str, target: str, folder: Path) -> str:
    """What the program prints on a processor."""
    system, processor, runner = TARGETS[target]
    if runner and shutil.which(runner[0]) is None:
        pytest.skip(f"{runner[0]} is missing (Debian: apt-get install qemu-user)")
    program = folder / target
    flags = [flag for flag in FLAGS if flag not in SHARED]
    command = [sys.executable, "-m", "ziglang", "cc", *flags, "-static", "-target", system, f"-mcpu={processor}"]
    environment = os.environ | {
        "PYTHONPATH": str(FOLDER),
        "ZIG_GLOBAL_CACHE_DIR": str(folder),
        "ZIG_LOCAL_CACHE_DIR": str(folder),
    }
    subprocess.run(
        [*command, str(Path(__file__).with_name(f"{name}.c")), "-o", str(program), "-lm"], env=environment, check=True
    )
    return subprocess.run([*runner, str(program)], capture_output=True, text=True, check=True).stdout


@pytest.mark.long
@pytest.mark.timeout(900)  # the emulator takes minutes beside other tests
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_arm_processor_trains_the_same_weights_and_reads_the_same_logits(name: str, tmp_path: Path) -> None:
    here = digests(name, "avx2", tmp_path)
    lines = here.splitlines()
    assert len(lines) == len({line.split()[-1] for line in lines}) == PROGRAMS[name]
    assert digests(name, "aarch64", tmp_path) == here
