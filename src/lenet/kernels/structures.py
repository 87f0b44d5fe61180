"""What the kernels share: the settings and the state of an optimizer, addresses of tensors, errors."""

from __future__ import annotations

from ctypes import Structure, c_double, c_float, c_int32, c_void_p
from typing import Any

import torch
from torch import Tensor

from lenet.config.schema import Optimizer, SdlmConfig, SgdConfig
from lenet.core.errors import LenetError

SGD, ADAM, ADAMW, SDLM = range(4)
LEVELS_OF_GREY = 256


class OptimizerSettings(Structure):
    """The struct `Optimizer` of optimizers.h."""

    _fields_ = (
        ("kind", c_int32),
        ("nesterov", c_int32),
        ("momentum", c_float),
        ("beta1", c_float),
        ("beta2", c_float),
        ("exact_beta1", c_double),
        ("exact_beta2", c_double),
        ("decay", c_float),
        ("clip", c_float),
        ("first", c_void_p),
        ("second", c_void_p),
    )


def optimizer_state(optimizer: Optimizer, weights: Tensor) -> dict[str, Any]:
    """Return what an optimizer keeps of a vector of weights, before its first step; the names are torch's."""
    if isinstance(optimizer, SdlmConfig):
        names: tuple[str, ...] = ("curvature",)
    else:
        names = ("momentum_buffer",) if isinstance(optimizer, SgdConfig) else ("exp_avg", "exp_avg_sq")
    return {"step": 0} | {name: torch.zeros_like(weights) for name in names}


def optimizer_settings(config: Optimizer, clip: float | None, state: dict[str, Any]) -> OptimizerSettings:
    """Return what a kernel wants to know of an optimizer and of its state."""
    if isinstance(config, SdlmConfig):
        return OptimizerSettings(SDLM, clip=clip or 0.0)
    shared = {"decay": config.weight_decay, "clip": clip or 0.0}
    if isinstance(config, SgdConfig):
        first = address(state["momentum_buffer"]) if config.momentum else None
        return OptimizerSettings(SGD, nesterov=config.nesterov, momentum=config.momentum, first=first, **shared)
    return OptimizerSettings(
        ADAMW if config.name == "adamw" else ADAM,
        beta1=config.beta1,
        beta2=config.beta2,
        exact_beta1=config.beta1,
        exact_beta2=config.beta2,
        first=address(state["exp_avg"]),
        second=address(state["exp_avg_sq"]),
        **shared,
    )


def address(tensor: Tensor | None) -> int | None:
    """Return where a tensor's values are."""
    return None if tensor is None else tensor.data_ptr()


def check(code: int) -> None:
    """Raise LenetError where a kernel says that it found no memory."""
    if code:
        raise LenetError("the fused kernel finds no memory; use a smaller trainer.batch_size")
