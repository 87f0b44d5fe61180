"""Lightning, imported without `torch._dynamo`: a second that only a network given to `torch.compile` needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import nn

DYNAMO = "torch._dynamo"
NEED_DYNAMO = ("torchvision", "transformers")
"""Packages that torchmetrics imports where they are installed, and that import parts of it."""


class _Dynamo(ModuleType):
    """What Lightning takes from it: a class to compare with, and a decorator."""

    class OptimizedModule(nn.Module):
        pass

    @staticmethod
    def disable(function: Any = None, *_: Any, **__: Any) -> Any:
        plain: Callable[[Any], Any] = lambda decorated: decorated  # noqa: E731
        return plain if function is None else function


@contextmanager
def _without_dynamo() -> Iterator[None]:
    if DYNAMO in sys.modules or any(find_spec(name) for name in NEED_DYNAMO):
        yield
        return
    stub = _Dynamo(DYNAMO)
    stub.__path__ = []  # it is a package
    sys.modules[DYNAMO] = stub
    try:
        yield
    finally:
        del sys.modules[DYNAMO]
        if vars(torch).get("_dynamo") is stub:
            del torch._dynamo


with _without_dynamo():
    import pytorch_lightning as lightning
    from lightning_fabric.plugins.environments import LightningEnvironment
    from pytorch_lightning.callbacks import Callback
    from pytorch_lightning.plugins.io import CheckpointIO
    from pytorch_lightning.strategies import DDPStrategy

__all__ = ["Callback", "CheckpointIO", "DDPStrategy", "LightningEnvironment", "lightning"]
