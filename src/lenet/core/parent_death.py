"""A process that ends when the one that started it does."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

from lenet.core.errors import EXIT_FAILED

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl(2)."""


def die_with_parent(signum: signal.Signals) -> None:
    """Ask the kernel to send this process `signum` when its parent ends; Linux alone knows how.

    A stage that DVC started would train on as an orphan when DVC is killed, beside the one that the next
    `dvc repro` starts.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    started_by = multiprocessing.parent_process()  # the command, where a server of processes stands between
    if os.getppid() != parent or (started_by is not None and not started_by.is_alive()):
        sys.exit(EXIT_FAILED)  # it ended before the kernel was asked
