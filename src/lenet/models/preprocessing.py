"""From a digit's bytes to the field that the network looks at."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lenet.models.lenet5 import INPUT_SIZE

BYTE_SCALE = 255.0


class PadAndNormalize(nn.Module):
    """Centre a digit on the network's 32×32 field and normalise it, on the device that holds it.

    Args:
        mean: mean of the training pixels, on the scale 0 to 1.
        deviation: their standard deviation, on the same scale.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))

    def forward(self, images: Tensor) -> Tensor:
        """Map bytes [n, h, w] with h = w up to 32 to normalised pixels [n, 1, 32, 32]."""
        margin = (INPUT_SIZE - images.shape[-1]) // 2
        pixels = images.unsqueeze(1).to(torch.float32)
        if margin:
            pixels = functional.pad(pixels, (margin,) * 4)  # byte 0 is the background
        return (pixels - self.mean * BYTE_SCALE) / (self.deviation * BYTE_SCALE)


class Classifier(nn.Module):
    """A network with its field: raw bytes in, logits out; what weights files and the registry hold."""

    def __init__(self, field: PadAndNormalize, network: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map bytes [n, 28, 28] to logits [n, classes]."""
        logits: Tensor = self.network(self.field(images))
        return logits
