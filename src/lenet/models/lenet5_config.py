"""The knobs of LeNet-5; free of torch, since every command that reads a config parses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lenet.config.networks import ModelConfig


@dataclass(frozen=True)
class LeNet5Config(ModelConfig):
    """LeNet-5 as textbooks have it, after LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86(11), 1998."""

    name: Literal["lenet5"]
    """61,706 parameters on grey images of up to 32×32 pixels and ten classes."""
    activation: Literal["tanh", "scaled_tanh", "sigmoid", "relu", "gelu", "silu"]
    """After every layer but the last; scaled_tanh is 1.7159·tanh(2a/3) (LeCun et al. 1998, Appendix A)."""
    pooling: Literal["average", "max"]
    """Subsampling after both convolutions."""
    normalization: Literal["none", "batch"]
    """Batch normalisation after both convolutions, or nothing."""
    initialization: Literal["xavier", "kaiming", "fan_in"]
    """Initial weights; fan_in is uniform in ±2.4/fan-in (LeCun et al. 1998, Section III)."""
