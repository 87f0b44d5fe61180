"""The LeNet-5 of 1998 (LeCun, Bottou, Bengio and Haffner, Proc. IEEE 86(11), Section II-B).

layer   what                                        output      parameters   connections
C1      convolution 5×5                             6×28×28            156       122,304
S2      sum of 2×2 · coefficient + bias             6×14×14             12         5,880
C3      convolution 5×5 of 3, 4 or 6 maps of S2     16×10×10         1,516       151,600
S4      sum of 2×2 · coefficient + bias             16×5×5              32         2,000
C5      120 units over all of S4                    120             48,120        48,120
F6      84 units                                    84              10,164        10,164
output  squared distances from 10 bitmaps           10                   0           840
total                                                               60,000       340,908

Every layer up to F6 is squashed. The paper's table of C3 has 156,000 connections; 1,516 × 100 are 151,600.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from lenet.core.errors import ConfigError
from lenet.models.layers import ACTIVATIONS, FAN_IN_BOUND, GAINS, POOLINGS
from lenet.models.lenet5_1998_config import LeNet5Of1998Config

INPUT_SIZE = 32
MAPS1, MAPS3, UNITS5, UNITS6 = 6, 16, 120, 84
BACKGROUND, INK = -0.1, 1.175
"""What the bytes 0 and 255 are to the network (Section II-B)."""

TABLE_1 = "012 123 234 345 045 015 0123 1234 2345 0345 0145 0125 0134 1245 0235 012345"
SPARSE = tuple(tuple(map(int, maps)) for maps in TABLE_1.split())
"""Maps of S2 that each map of C3 takes (Table I)."""

BITMAPS = """
.#####. ...##.. .#####. ####### .#####. .#####. ..####. ####### .#####. .#####.
....... ..###.. ....... .....## ....... ....... .##.... .....## ##...## ##..###
..###.. .####.. .#####. ....##. ....... ####### ##..... .....## ##...## ##...##
.##.##. ...##.. ##...## ...##.. .##..## ##..... ##..... ....##. ##...## ##...##
##...## ...##.. #....## ..####. .##..## ##..... ######. ...##.. .#####. ##..###
##...## ...##.. ....##. .....## ###..## .####.. ###..## ...##.. ##...## .######
##...## ...##.. ..###.. .....## ##...## ..####. ##...## ..##... ##...## .....##
##...## ...##.. .##.... .....## ##...## .....## ##...## ..##... ##...## .....##
.##.##. ...##.. ##..... ##...## ##..### ##...## ###..## ..##... ##...## ....##.
..###.. .###### ####### .#####. .###### .#####. .#####. ..##... .#####. .####..
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
....... ....... ....... ....... .....## ....... ....... ....... ....... .......
"""
"""The centres of the output units, 7 wide and 12 high (Fig. 3): # is +1 and . is -1, read row by row for F6's units."""


def bitmaps() -> Tensor:
    """Return the centres [10, 84] of the output units, each +1 or -1."""
    rows = [line.split() for line in BITMAPS.split("\n") if line]
    digits = ["".join(row[digit] for row in rows) for digit in range(10)]
    return torch.tensor([[1.0 if pixel == "#" else -1.0 for pixel in digit] for digit in digits])


class TrainableSubsampling(nn.Module):
    """The sum of 2×2 times a coefficient, plus a bias, both of a map, squashed (Section II-B)."""

    def __init__(self, maps: int, activation: nn.Module) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(maps))
        self.bias = nn.Parameter(torch.zeros(maps))
        self.activation = activation

    def forward(self, maps: Tensor) -> Tensor:
        """Map [n, maps, 2·h, 2·w] to [n, maps, h, w]."""
        sums = functional.avg_pool2d(maps, 2, divisor_override=1)
        squashed: Tensor = self.activation(sums * self.scale[:, None, None] + self.bias[:, None, None])
        return squashed


class PartialConvolution(nn.Module):
    """A convolution 5×5 in which each map takes some of the maps before it.

    Attributes:
        connected: which maps before each map takes, in their order.
        weight: a kernel for each connection [connections, 5, 5], map by map.
        bias: of the maps.
    """

    target: Tensor
    source: Tensor

    def __init__(self, connected: tuple[tuple[int, ...], ...], inputs: int) -> None:
        super().__init__()
        self.connected = connected
        pairs = [(target, source) for target, sources in enumerate(connected) for source in sources]
        self.register_buffer("target", torch.tensor([target for target, _ in pairs]), persistent=False)
        self.register_buffer("source", torch.tensor([source for _, source in pairs]), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(pairs), 5, 5))
        self.bias = nn.Parameter(torch.zeros(len(connected)))
        self._inputs = inputs

    def forward(self, maps: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, maps, h - 4, w - 4]."""
        whole = self.weight.new_zeros(len(self.connected), self._inputs, 5, 5)
        return functional.conv2d(maps, whole.index_put((self.target, self.source), self.weight), self.bias)


class Distances(nn.Module):
    """Squared Euclidean distances from fixed centres, with a minus, so that the highest output wins."""

    centres: Tensor

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        self.register_buffer("centres", centres, persistent=False)

    def forward(self, units: Tensor) -> Tensor:
        """Map [n, units] to [n, classes]."""
        return -(units[:, None, :] - self.centres).square().sum(2)


class LeNet5Of1998(nn.Module):
    """LeNet-5 of 1998 from images on its own scale to one logit a class.

    Attributes:
        model: its knobs.
        input_size: height and width of its input in pixels.
        pixel_statistics: mean and deviation of pixels from 0 to 1 that make the paper's scale; None: those of the data.

    Raises:
        ConfigError: the images are not grey or too large, or their classes are not ten where the output are bitmaps.
    """

    def __init__(self, model: LeNet5Of1998Config, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        if channels != 1 or max(height, width) > INPUT_SIZE:
            raise ConfigError(f"model.name=lenet5_1998: takes grey images of up to {INPUT_SIZE}×{INPUT_SIZE} pixels")
        centres = bitmaps()
        if model.output == "rbf" and classes != len(centres):
            raise ConfigError(f"model.output=rbf: has bitmaps of ten classes, the data has {classes}; use linear")
        self.model = model
        self.input_size = (INPUT_SIZE, INPUT_SIZE)
        self.pixel_statistics: tuple[float, float] | None = None
        if model.input_scale == "paper":
            self.pixel_statistics = (-BACKGROUND / (INK - BACKGROUND), 1 / (INK - BACKGROUND))
        activation = ACTIVATIONS[model.activation]

        def subsampling(maps: int) -> nn.Module:
            own = POOLINGS.get(model.subsampling)
            return TrainableSubsampling(maps, activation()) if own is None else own()

        connected = SPARSE if model.connections == "sparse" else (tuple(range(MAPS1)),) * MAPS3
        self.c1 = nn.Sequential(nn.Conv2d(1, MAPS1, 5), activation())
        self.s2 = subsampling(MAPS1)
        self.c3 = nn.Sequential(PartialConvolution(connected, MAPS1), activation())
        self.s4 = subsampling(MAPS3)
        self.c5 = nn.Sequential(nn.Flatten(), nn.Linear(MAPS3 * 5 * 5, UNITS5), activation())
        self.f6 = nn.Sequential(nn.Linear(UNITS5, UNITS6), activation())
        self.output = Distances(centres) if model.output == "rbf" else nn.Linear(UNITS6, classes)
        _initialize(self, model)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [n, 1, 32, 32] to logits [n, classes]."""
        logits: Tensor = self.output(self.f6(self.c5(self.s4(self.c3(self.s2(self.c1(images)))))))
        return logits


def _initialize(network: LeNet5Of1998, model: LeNet5Of1998Config) -> None:
    for layer in network.modules():
        if isinstance(layer, TrainableSubsampling):
            fan_in = 4  # inputs of a unit
            _draw(layer.scale, FAN_IN_BOUND / (fan_in if model.initialization == "fan_in" else math.sqrt(fan_in)))
        elif isinstance(layer, PartialConvolution):
            bounds = [_bound(model, 25 * len(sources), 25 * MAPS3) for sources in layer.connected for _ in sources]
            _draw(layer.weight, torch.tensor(bounds)[:, None, None])
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in, kernel = math.prod(layer.weight.shape[1:]), math.prod(layer.weight.shape[2:])
            _draw(layer.weight, _bound(model, fan_in, len(layer.weight) * kernel))
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


def _bound(model: LeNet5Of1998Config, fan_in: int, fan_out: int) -> float:
    if model.initialization == "fan_in":
        return FAN_IN_BOUND / fan_in
    if model.initialization == "fan_in_root":
        return FAN_IN_BOUND / math.sqrt(fan_in)
    return GAINS[model.activation] * math.sqrt(6 / (fan_in + fan_out))  # Glorot & Bengio 2010, equation 16


def _draw(weight: Tensor, bound: float | Tensor) -> None:
    """Draw weights uniformly in ± their bound; in two operations, which are rounded alike on every processor."""
    with torch.no_grad():
        weight.copy_(torch.rand(weight.shape).mul_(2 * bound).sub_(bound))
