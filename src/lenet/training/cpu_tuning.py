"""How this process uses a small machine; to be called before torch is imported."""

from __future__ import annotations

import ctypes
import os
import sys

SPIN_COUNT = "10000"
"""Turns that an idle OpenMP thread spins before it sleeps.

The default (some hundred thousand) makes two trainings on two cores several times slower than one after the other;
none at all (OMP_WAIT_POLICY=PASSIVE) makes a lone training a third slower. A user's own setting stands.
"""

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
"""Of glibc's mallopt(3)."""

KEPT_BYTES = 1 << 28
"""Blocks up to this size are reused instead of being returned to the kernel and cleared anew at each step."""


def configure_openmp() -> None:
    """Set what OpenMP and glibc read once; other platforms keep their ways."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # glibc has it, musl has not
            libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
            libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
