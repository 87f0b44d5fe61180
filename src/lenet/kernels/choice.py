"""Choose what does the arithmetic of a training: the fused kernel, or torch."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from typing import Final

from lenet.config.schema import Config, SdlmConfig
from lenet.core.errors import ConfigError
from lenet.core.processes import gpu_count
from lenet.kernels.library import Missing, load_kernel

logger = logging.getLogger(__name__)

FUSED: Final = "fused"
TORCH: Final = "torch"
LENET5: Final = "lenet5"
LENET5_1998: Final = "lenet5_1998"
MAX_SIDE = 32
"""Of the images that the kernels have room for."""

MAX_CLASSES = {LENET5: 32, LENET5_1998: 16}
"""By network, classes that its kernel has room for."""

KERNELS = {LENET5: ("lenet.kernels.fused", "lenet5.c"), LENET5_1998: ("lenet.kernels.fused_1998", "lenet5_1998.c")}
"""By network, the module that calls its kernel and the kernel's source."""

MAX_NORMALIZED_BATCH = 4096
"""Images of a mini-batch with batch normalisation, all of whose units are in memory at once: 2 MB for each 16."""


def resolve_kernel(config: Config) -> Config:
    """Return a config whose `trainer.kernel` is what trains it here, `fused` or `torch`: part of its identity.

    `auto` is `fused` for the networks that the kernel knows, on the CPU, in fp32, wherever a kernel can be loaded.

    Raises:
        ConfigError: `fused` was requested or is needed, and cannot be.
    """
    wanted = config.trainer.kernel
    if wanted == TORCH:
        return config
    reason = _unsuitable(config)
    if not reason and isinstance(kernel := load_kernel(), Missing):
        reason = kernel.reason
        if wanted != FUSED:
            _warn(reason)
    if reason and isinstance(config.optimizer, SdlmConfig):
        raise ConfigError(f"optimizer=sdlm: takes its steps in the fused kernel alone, and {reason}")
    if reason and wanted == FUSED:
        raise ConfigError(f"trainer.kernel=fused: {reason}; use trainer.kernel=auto or torch")
    return replace(config, trainer=replace(config.trainer, kernel=TORCH if reason else FUSED))


def _unsuitable(config: Config) -> str:
    """Say why the kernel does not train a config, or nothing."""
    data, trainer = config.data, config.trainer
    if config.model.name not in KERNELS:
        return f"it knows model={' and '.join(KERNELS)} alone"
    most = MAX_CLASSES[config.model.name]
    if data.channels != 1 or max(data.height, data.width) > MAX_SIDE or len(data.classes) > most:
        return f"it takes grey images of up to {MAX_SIDE}×{MAX_SIDE} pixels in up to {most} classes"
    if trainer.precision != "fp32":
        return f"it computes in fp32, and trainer.precision is {trainer.precision}"
    if trainer.devices > 1 or trainer.strategy == "ddp":
        return "it trains in one process"
    if trainer.accelerator == "gpu" or (trainer.accelerator == "auto" and gpu_count()):
        return "it trains on the CPU"
    if getattr(config.model, "normalization", "none") == "batch" and trainer.batch_size > MAX_NORMALIZED_BATCH:
        return f"with batch normalisation it takes mini-batches of up to {MAX_NORMALIZED_BATCH} images"
    return ""


@cache
def _warn(reason: str) -> None:
    logger.warning(f"torch trains, for there is no fused kernel here: {reason}")
