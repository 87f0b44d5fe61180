"""The table of networks: the name that `model.name` takes, and where the knobs and the builder of each are.

To add a network: a file in models/ with a dataclass of its knobs and a builder, conf/model/<name>.yaml with their
values, and a line here. The names are strings so that a command imports the network that it uses and no other.
LeNet-5's knobs lie in a file without torch, since every command parses them; another network may keep both in one file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelConfig:
    """Base of the dataclasses of knobs."""

    name: str


@dataclass(frozen=True)
class Network:
    """Where a network is found.

    Attributes:
        config: dotted name of the dataclass of its knobs, which derives from ModelConfig.
        builder: dotted name of what returns it: a class, or a function, of the knobs, the shape of an image (channels,
            height, width) and the number of classes.
    """

    config: str
    builder: str


NETWORKS = {
    "lenet5": Network("lenet.models.lenet5_config.LeNet5Config", "lenet.models.lenet5.LeNet5"),
    "lenet5_1998": Network(
        "lenet.models.lenet5_1998_config.LeNet5Of1998Config", "lenet.models.lenet5_1998.LeNet5Of1998"
    ),
}


def config_class(name: str) -> type[ModelConfig]:
    """Return the dataclass of a network's knobs."""
    found: type[ModelConfig] = _load(NETWORKS[name].config)
    return found


def builder(name: str) -> Callable[[ModelConfig, tuple[int, int, int], int], nn.Module]:
    """Return what builds a network."""
    found: Callable[[ModelConfig, tuple[int, int, int], int], nn.Module] = _load(NETWORKS[name].builder)
    return found


def builder_module(name: str) -> str:
    """Return the module that a network's builder is in; its source is part of the fingerprint of the network's runs."""
    return NETWORKS[name].builder.rpartition(".")[0]


def _load(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)
