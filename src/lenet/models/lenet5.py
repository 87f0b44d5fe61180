"""The textbook LeNet-5: what most people mean by the name today.

layer   what                                  output      parameters
C1      conv 5×5, 6 filters                   6×28×28            156
S2      pool 2×2, stride 2                    6×14×14              0
C3      conv 5×5, 16 filters, all of S2       16×10×10         2,416
S4      pool 2×2, stride 2                    16×5×5               0
F5      120 units over all of S4              120             48,120
F6      84 units                              84              10,164
output  10 units                              10                 850
total                                                         61,706

Batch normalisation after both convolutions adds 44. The paper's C3 is sparse, its subsampling is trainable and its
output are radial basis functions (LeCun, Bottou, Bengio, Haffner 1998, Section II-B): that is another network.
"""

from __future__ import annotations

from torch import Tensor, nn

from lenet.config.schema import ModelConfig
from lenet.models.layers import ACTIVATIONS, POOLINGS, initialize, normalization

INPUT_SIZE = 32
"""Height and width of the input in pixels: a 28×28 digit on a 32×32 field."""


class LeNet5(nn.Module):
    """LeNet-5 from 1×32×32 images to one logit a class."""

    def __init__(self, model: ModelConfig, classes: int) -> None:
        super().__init__()
        activation, pooling = ACTIVATIONS[model.activation], POOLINGS[model.pooling]
        self.c1 = nn.Sequential(nn.Conv2d(1, 6, 5), *normalization(model.normalization, 6), activation())
        self.s2 = pooling()
        self.c3 = nn.Sequential(nn.Conv2d(6, 16, 5), *normalization(model.normalization, 16), activation())
        self.s4 = pooling()
        self.f5 = nn.Sequential(nn.Flatten(), nn.Linear(400, 120), activation())
        self.f6 = nn.Sequential(nn.Linear(120, 84), activation())
        self.output = nn.Linear(84, classes)
        initialize(self, model)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, 1, 32, 32] to logits [n, classes]."""
        maps = self.s4(self.c3(self.s2(self.c1(images))))
        logits: Tensor = self.output(self.f6(self.f5(maps)))
        return logits


def build_network(model: ModelConfig, classes: int) -> nn.Module:
    """Return the network that the config names, its weights drawn from torch's generator."""
    return LeNet5(model, classes)
