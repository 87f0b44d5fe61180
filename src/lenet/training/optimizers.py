"""Optimizers and learning-rate schedules, from closed tables of names."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from lenet.config.schema import (
    ConstantConfig,
    CosineConfig,
    OneCycleConfig,
    Optimizer,
    Schedule,
    SgdConfig,
)


def build_optimizer(config: Optimizer, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that the config names, at its full learning rate: one fused kernel a step."""
    if isinstance(config, SgdConfig):
        return torch.optim.SGD(
            parameters,
            lr=config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )
    kind: type[torch.optim.Adam] = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(
        parameters,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate_factor(schedule: Schedule, step: int, steps: int, steps_an_epoch: int) -> float:
    """Return what the learning rate is multiplied with at a step.

    Args:
        schedule: the schedule.
        step: number of the step, from 0 to steps - 1.
        steps: all steps of the run.
        steps_an_epoch: steps of one epoch.
    """
    if isinstance(schedule, ConstantConfig):
        return 1.0
    if isinstance(schedule, CosineConfig):
        progress = step / max(1, steps - 1)
        return schedule.final_fraction + (1 - schedule.final_fraction) * (1 + math.cos(math.pi * progress)) / 2
    if isinstance(schedule, OneCycleConfig):
        warmup = round(schedule.warmup_fraction * steps)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(1, steps - 1 - warmup)
        return 1 - (1 - schedule.final_fraction) * progress
    return float(schedule.factor ** (step // steps_an_epoch // schedule.every_epochs))
