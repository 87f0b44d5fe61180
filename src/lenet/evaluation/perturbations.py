"""What can happen to a digit: moved, scaled, turned, sheared, or covered with noise. Bytes in, bytes out.

The geometry looks each pixel of the result up in the original, between its pixels bilinearly, about the centre of the
frame; outside is background. What leaves the frame is lost, and a pixel is rounded to its nearest byte.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lenet.data.arrays import WHITE

SEED = 1998

DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Steps to the right and down."""


def _resample(images: Tensor, inverse: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Tensor:
    """Return the images seen through an affine map from places in the result to places in the original.

    Places are measured in pixels from the centre of the frame, x to the right and y down.
    """
    height, width = images.shape[-2:]
    # The grid's frame runs from -1 to 1 along both axes, whatever its sides.
    to_pixels, to_frame = torch.tensor([width / 2, height / 2, 1.0]), torch.tensor([[2 / width], [2 / height]])
    theta = torch.tensor(inverse, dtype=torch.float32) * to_pixels * to_frame
    grid = functional.affine_grid(theta.unsqueeze(0), [1, 1, height, width], align_corners=False)
    # The images go in as channels of one: the grid and its weights are then worked out once for all of them.
    found = functional.grid_sample(
        images.reshape(1, -1, height, width).float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return found.reshape(images.shape).round_().to(torch.uint8)


def shift(images: Tensor, right: float, down: float) -> Tensor:
    """Move bytes [n, c, h, w] by so many pixels to the right and down; negative ones to the left and up."""
    return _resample(images, ((1.0, 0.0, -right), (0.0, 1.0, -down)))


def shift_anywhere(images: Tensor, pixels: float) -> Tensor:
    """Move bytes [n, c, h, w] by so many pixels, to the right, down, left or up; each way is drawn from a seed."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randint(0, len(DIRECTIONS), (len(images),), generator=generator)
    moved = torch.empty_like(images)
    for number, (right, down) in enumerate(DIRECTIONS):
        moved[drawn == number] = shift(images[drawn == number], right * pixels, down * pixels)
    return moved


def scale(images: Tensor, factor: float) -> Tensor:
    """Make what bytes [n, c, h, w] show so many times as large."""
    return _resample(images, ((1.0 / factor, 0.0, 0.0), (0.0, 1.0 / factor, 0.0)))


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn bytes [n, c, h, w] by so many degrees against the clock."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _resample(images, ((cosine, -sine, 0.0), (sine, cosine, 0.0)))


def shear(images: Tensor, degrees: float) -> Tensor:
    """Lean the upright lines of bytes [n, c, h, w] by so many degrees to the right, as italics do; rows stay rows."""
    return _resample(images, ((1.0, math.tan(math.radians(degrees)), 0.0), (0.0, 1.0, 0.0)))


def add_gaussian_noise(images: Tensor, deviation: float) -> Tensor:
    """Add to each pixel of bytes [n, c, h, w] a normal draw whose standard deviation is this fraction of white.

    Drawn from a seed and alike for each deviation but for its size. What leaves 0 to 255 is cut off.
    """
    drawn = torch.randn(images.shape, generator=torch.Generator().manual_seed(SEED))
    return (images + drawn * (deviation * WHITE)).round_().clamp_(0, WHITE).to(torch.uint8)


def add_salt_and_pepper(images: Tensor, fraction: float) -> Tensor:
    """Set this fraction of the pixels of bytes [n, c, h, w] to white or to black, each with the same chance.

    Drawn from a seed; a pixel that is set at one fraction is set alike at each larger one.
    """
    drawn = torch.rand(images.shape, generator=torch.Generator().manual_seed(SEED))
    return images.masked_fill(drawn < fraction / 2, 0).masked_fill(drawn >= 1 - fraction / 2, WHITE)
