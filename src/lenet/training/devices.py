"""What a run is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenet.config.schema import Config
from lenet.core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


def choose_accelerator(config: Config) -> str:
    """Return `cpu` or `gpu`.

    Raises:
        ConfigError: the config has a GPU, or more of them, than there are.
    """
    wanted, devices = config.trainer.accelerator, config.trainer.devices
    if wanted == "cpu":
        return "cpu"
    import torch

    found = torch.cuda.device_count()
    if wanted == "auto" and found == 0:
        return "cpu"
    if found == 0:
        raise ConfigError("trainer.accelerator=gpu: torch finds no CUDA device here; use trainer=cpu or trainer=auto")
    if devices > found:
        raise ConfigError(f"trainer.devices={devices}: torch finds {found} CUDA device(s) here")
    return "gpu"


def set_memory_format(network: nn.Module, accelerator: str) -> None:
    """Put a network's weights into the memory order that trains fastest; their values stay.

    On a CPU convolutions and poolings with the channels innermost take a tenth less of a step; batch normalisation
    in that order takes twice the whole step's time, so networks that have it keep PyTorch's own.
    """
    import torch
    from torch import nn

    if accelerator == "cpu" and not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()):
        # torch's stub types only the overloads that name a dtype or a device
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
