"""Optimizers and learning-rate schedules, from closed tables of names."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from lenet.config.schema import (
    AdamConfig,
    ConstantConfig,
    CosineConfig,
    LeCun1998Config,
    OneCycleConfig,
    Optimizer,
    Schedule,
    SgdConfig,
)

LECUN_1998 = ((2, 1.0), (5, 0.4), (8, 0.2), (12, 0.1))
LAST_OF_1998 = 0.02
"""Up to which epoch the learning rate is so much of 0.0005, and what it is then (LeCun et al. 1998, Section III)."""


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
    assert isinstance(config, AdamConfig)  # the config allows no other where torch takes the steps
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
    if isinstance(schedule, LeCun1998Config):
        epoch = step // steps_an_epoch
        return next((factor for end, factor in LECUN_1998 if epoch < end), LAST_OF_1998)
    return float(schedule.factor ** (step // steps_an_epoch // schedule.every_epochs))
