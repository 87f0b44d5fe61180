"""Importing this module first makes importing torch, Lightning and MLflow a quarter faster, and ending with them too.

Garbage collection: those imports make millions of objects that stay, and Python's own thresholds (700, 10, 10) look
through them again and again. What a run makes is freed when it is last used, without the collector. At its end Python
would look through all of them once more, for a second.

scipy.signal: torchmetrics, which Lightning imports, imports it to restore a name that an audio package needs. Nothing
here uses it, so a stub stands in for it until somebody does.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

SIGNAL = "scipy.signal"


class _Stub(ModuleType):
    hamming = None  # the name that torchmetrics looks for

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # inspect looks for every module's __file__
            raise AttributeError(name)
        if sys.modules.get(SIGNAL) is self:
            del sys.modules[SIGNAL]
        return getattr(importlib.import_module(SIGNAL), name)


gc.set_threshold(20_000, 20, 20)
atexit.register(gc.freeze)
if SIGNAL not in sys.modules:
    sys.modules[SIGNAL] = _Stub(SIGNAL)
    sys.modules[SIGNAL].__spec__ = ModuleSpec(SIGNAL, loader=None)
