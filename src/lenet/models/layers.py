"""The building blocks that the LeNet-5 family shares."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lenet.models.lenet5_config import LeNet5Config

SCALED_TANH_AMPLITUDE = 1.7159
SCALED_TANH_SLOPE = 2.0 / 3.0
FAN_IN_BOUND = 2.4


class ScaledTanh(nn.Module):
    """f(a) = 1.7159·tanh(2a/3), so that f(±1) = ±1 (LeCun et al. 1998, Appendix A)."""

    def forward(self, activation: Tensor) -> Tensor:
        """Squash elementwise; the shape stays."""
        return SCALED_TANH_AMPLITUDE * torch.tanh(SCALED_TANH_SLOPE * activation)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "scaled_tanh": ScaledTanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

POOLINGS: dict[str, Callable[[], nn.Module]] = {
    "average": lambda: nn.AvgPool2d(2),
    "max": lambda: nn.MaxPool2d(2),
}

# Gain of the initial weights: what keeps the variance of a layer's output near that of its input.
GAINS: dict[str, float] = {
    "tanh": nn.init.calculate_gain("tanh"),
    "scaled_tanh": 1.0,
    "sigmoid": 4.0,  # 1 / slope at zero (Glorot & Bengio 2010)
    "relu": nn.init.calculate_gain("relu"),
    "gelu": nn.init.calculate_gain("relu"),
    "silu": nn.init.calculate_gain("relu"),
}


def normalization(kind: str, channels: int) -> list[nn.Module]:
    """Return the layers that follow a convolution of `channels` maps: batch normalisation, or none."""
    return [nn.BatchNorm2d(channels)] if kind == "batch" else []


def initialize(network: nn.Module, model: LeNet5Config) -> None:
    """Draw the weights of every convolution and linear layer from torch's generator; biases start at zero."""
    for layer in network.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        bound = _largest_weight(layer.weight, model)
        # In two operations: torch.nn.init's one is rounded once or twice, as the processor has it.
        with torch.no_grad():
            layer.weight.copy_(torch.rand(layer.weight.shape).mul_(2 * bound).sub_(bound))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _largest_weight(weight: Tensor, model: LeNet5Config) -> float:
    fan_in = math.prod(weight.shape[1:])
    if model.initialization == "fan_in":
        return FAN_IN_BOUND / fan_in
    if model.initialization == "kaiming":
        return math.sqrt(6 / fan_in)  # He et al. 2015, Section 2.2, for ReLU
    fan_out = len(weight) * math.prod(weight.shape[2:])
    return GAINS[model.activation] * math.sqrt(6 / (fan_in + fan_out))  # Glorot & Bengio 2010, equation 16
