"""From the bytes of an image to logits: padding and normalisation, then the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lenet.config.networks import builder
from lenet.config.schema import Config

BYTE_SCALE = 255.0


def margins(image_size: tuple[int, int], input_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the margins (left, right, top, bottom) that centre an image of (height, width) on the network's input."""
    (height, width), (full_height, full_width) = image_size, input_size
    left, top = (full_width - width) // 2, (full_height - height) // 2
    return left, full_width - width - left, top, full_height - height - top


class PadAndNormalize(nn.Module):
    """Centre an image on the network's input and normalise each channel, on the device that holds it.

    Args:
        mean: mean of the training pixels of each channel, on the scale 0 to 1.
        deviation: their standard deviation, on the same scale.
        input_size: height and width that the network takes; images are padded to it with byte 0.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float], input_size: tuple[int, int]) -> None:
        super().__init__()
        self.input_size = input_size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32).reshape(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map bytes [n, channels, h, w], h and w up to the input's, to normalised pixels [n, channels, *input_size]."""
        pixels = images.to(torch.float32)
        padding = margins((images.shape[-2], images.shape[-1]), self.input_size)
        if any(padding):
            pixels = functional.pad(pixels, padding)
        return self.normalize(pixels)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Map pixels [..., channels, h, w] from 0 to 255 to those that the network takes."""
        return (pixels - self.mean * BYTE_SCALE) / (self.deviation * BYTE_SCALE)


class Classifier(nn.Module):
    """A network with its preprocessing: bytes in, logits out; what weights files and the registry hold.

    Args:
        field: the preprocessing.
        network: from normalised pixels to logits.
        image_shape: channels, height and width of the images that it classifies.
    """

    def __init__(self, field: PadAndNormalize, network: nn.Module, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.field = field
        self.network = network
        self.image_shape = image_shape

    def forward(self, images: Tensor) -> Tensor:
        """Map bytes [n, channels, height, width] to logits [n, classes]."""
        logits: Tensor = self.network(self.field(images))
        return logits


def build_classifier(
    config: Config, mean: Sequence[float] | None = None, deviation: Sequence[float] | None = None
) -> Classifier:
    """Return the network that the config names, its weights drawn from torch's generator.

    A network larger than the images says so by its attribute `input_size` (height, width); others take the images' own.
    One that has a scale of its own for the pixels says so by `pixel_statistics` (mean, deviation).

    Args:
        config: of the run.
        mean: of the training pixels of each channel, on the scale 0 to 1; 0 where weights are loaded into it later.
        deviation: of the same; 1 where weights are loaded into it later.

    Raises:
        ConfigError: the network cannot take images of this shape.
    """
    shape = config.data.image_shape
    network = builder(config.model.name)(config.model, shape, len(config.data.classes))
    size: tuple[int, int] = getattr(network, "input_size", shape[1:])
    if (own := getattr(network, "pixel_statistics", None)) is not None:
        mean, deviation = ([value] * shape[0] for value in own)
    field = PadAndNormalize(mean or [0.0] * shape[0], deviation or [1.0] * shape[0], size)
    return Classifier(field, network, shape)
