"""How often Python looks for garbage."""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 20, 20)
"""New objects before a look at the youngest ones, and looks before one at the older ones; Python's own are 700, 10, 10.

Importing torch, Lightning and MLflow makes millions of objects that stay: to look through them again and again takes a
tenth of the seconds until a command begins. What a run makes is freed when it is last used, with no need for a look.
"""


def raise_gc_thresholds() -> None:
    """Set the thresholds for this process and those that it forks."""
    gc.set_threshold(*THRESHOLDS)
