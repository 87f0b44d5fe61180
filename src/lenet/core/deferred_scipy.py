"""Imports that wait until somebody uses what they bring.

torchmetrics imports `scipy.signal` to give it back a name that an audio package asks for, and Lightning imports
torchmetrics: a fifth of the seconds until a training begins, for a module that nothing here uses.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

SIGNAL = "scipy.signal"

PATCHED = "hamming"
"""The name that torchmetrics sets where it is missing; asking for it must not be what imports the module."""

_lock = threading.RLock()
_loading: list[ModuleType] = []


def defer_signal() -> None:
    """Have `scipy.signal` imported when it is first used, in this process and those that it forks."""
    if SIGNAL not in sys.modules and not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != SIGNAL:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Later(spec.loader)
        return spec


class _Later(Loader):
    """Makes the module, and leaves its code to the first one who asks for anything in it."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, PATCHED, None)
        module.__class__ = _Deferred


class _Deferred(ModuleType):
    def __getattr__(self, name: str) -> Any:
        with _lock:  # another thread waits; the one that loads comes back in, and asks for what is not there yet
            if self in _loading:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            if type(self) is _Deferred:
                _load(self)
        return getattr(self, name)


def _load(module: ModuleType) -> None:
    spec = module.__spec__
    assert spec is not None
    assert isinstance(spec.loader, _Later)
    loader = spec.loader.loader
    delattr(module, PATCHED)
    _loading.append(module)
    try:
        loader.exec_module(module)
    except BaseException:
        setattr(module, PATCHED, None)  # to be tried again by the next who asks
        raise
    finally:
        _loading.remove(module)
    module.__class__ = ModuleType
    spec.loader = module.__loader__ = loader
