"""What a run is trained on."""

from __future__ import annotations

from lenet.config import Config
from lenet.errors import ConfigError


def choose_accelerator(config: Config) -> str:
    """Return `cpu` or `gpu`.

    Raises:
        ConfigError: a GPU, or more of them than there are, was asked for.
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
