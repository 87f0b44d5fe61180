"""The textbook LeNet-5, as the name is used today.

layer   what                                  output      parameters
C1      conv 5×5, 6 filters                   6×28×28            156
S2      pool 2×2, stride 2                    6×14×14              0
C3      conv 5×5, 16 filters, all of S2       16×10×10         2,416
S4      pool 2×2, stride 2                    16×5×5               0
F5      120 units over all of S4              120             48,120
F6      84 units                              84              10,164
output  10 units                              10                 850
total                                                         61,706

This is for one channel, 32×32 pixels and ten classes. Batch normalisation after both convolutions adds 44.
The paper's C3 is sparse, its subsampling is trainable and its output are radial basis functions (LeCun, Bottou,
Bengio, Haffner 1998, Section II-B): that is another network.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from lenet.models.layers import ACTIVATIONS, POOLINGS, initialize, normalization
from lenet.models.lenet5_config import LeNet5Config

INPUT_SIZE = 32
"""Least height and width of the input in pixels: a 28×28 image on a 32×32 input, as the paper has it."""

HALVINGS = 4
"""Both poolings together divide the height and width of the maps by this."""

C1_MARGIN, C3_MARGIN = 4, 8
"""Pixels of the input that both 5×5 convolutions take from its height: 4, and 4 at half the scale."""


def input_side(side: int) -> int:
    """Return the side of the input for images of a side: at least 32, and such that both poolings divide evenly."""
    over = C1_MARGIN + C3_MARGIN
    return max(INPUT_SIZE, -(-(side - over) // HALVINGS) * HALVINGS + over)


class LeNet5(nn.Module):
    """LeNet-5 from normalised images to one logit a class.

    Images smaller than 32×32 stand in the middle of the input; larger ones widen it, and with it the 16 maps that F5
    looks at: 16×5×5 for 32×32, 16×13×13 for 64×64.

    Attributes:
        model: its knobs.
        input_size: height and width of its input in pixels.
    """

    def __init__(self, model: LeNet5Config, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.model = model
        channels, height, width = image_shape
        self.input_size = (input_side(height), input_side(width))
        maps = 16 * math.prod((side - C1_MARGIN - C3_MARGIN) // HALVINGS for side in self.input_size)
        activation, pooling = ACTIVATIONS[model.activation], POOLINGS[model.pooling]
        self.c1 = nn.Sequential(nn.Conv2d(channels, 6, 5), *normalization(model.normalization, 6), activation())
        self.s2 = pooling()
        self.c3 = nn.Sequential(nn.Conv2d(6, 16, 5), *normalization(model.normalization, 16), activation())
        self.s4 = pooling()
        self.f5 = nn.Sequential(nn.Flatten(), nn.Linear(maps, 120), activation())
        self.f6 = nn.Sequential(nn.Linear(120, 84), activation())
        self.output = nn.Linear(84, classes)
        initialize(self, model)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, channels, *input_size] to logits [n, classes]."""
        maps = self.s4(self.c3(self.s2(self.c1(images))))
        logits: Tensor = self.output(self.f6(self.f5(maps)))
        return logits
