"""Perturbations of images: shift, scale, rotation, shear, and two kinds of noise. Bytes [..., h, w] in, bytes out.

The geometric ones look up each pixel of the result in the original, bilinearly between its pixels, about the centre of
the frame; outside of it is 0, the background. What leaves the frame is lost; pixels are rounded to the nearest byte.
They are computed in float64, so that processors that differ in the last bits get the same bytes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

WHITE = 255
SEED = 1998

DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Steps to the right and down."""

PERCENT = 100
EXACT = torch.float64
FINE = 1 << 20


def _resample(images: Tensor, inverse: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Tensor:
    """Apply an affine map, given as the map from positions in the result to positions in the original.

    Positions are in pixels from the centre of the frame, x to the right and y down.
    """
    height, width = images.shape[-2:]
    (xx, xy, x), (yx, yy, y) = inverse
    # The grid's frame runs from -1 to 1 in both directions, whatever the sides are.
    theta = torch.tensor(
        [[[xx, xy * height / width, 2 * x / width], [yx * width / height, yy, 2 * y / height]]], dtype=EXACT
    )
    grid = functional.affine_grid(theta, [1, 1, height, width], align_corners=False)
    # All images go in as channels of one: the grid and its weights are then worked out once.
    found = functional.grid_sample(
        images.reshape(1, -1, height, width).to(EXACT), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    halves = found.mul_(FINE).round_().div_(FINE)  # a half on every processor is a half, and goes to the even byte
    return halves.reshape(images.shape).round_().to(torch.uint8)


def shift(images: Tensor, right: float, down: float) -> Tensor:
    """Move images by so many pixels to the right and down; negative ones to the left and up."""
    return _resample(images, ((1.0, 0.0, -right), (0.0, 1.0, -down)))


def shift_anywhere(images: Tensor, percent: float) -> Tensor:
    """Move images [n, ..., h, w] by this percentage of their width, in whole pixels.

    Each goes to the right, down, left or up, drawn from a seed.
    """
    pixels = round(percent * images.shape[-1] / PERCENT)
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randint(0, len(DIRECTIONS), (len(images),), generator=generator)
    moved = torch.empty_like(images)
    for number, (right, down) in enumerate(DIRECTIONS):
        if (drawn == number).any():
            moved[drawn == number] = shift(images[drawn == number], right * pixels, down * pixels)
    return moved


def scale(images: Tensor, factor: float) -> Tensor:
    """Make what images show so many times as large."""
    return _resample(images, ((1.0 / factor, 0.0, 0.0), (0.0, 1.0 / factor, 0.0)))


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn images by so many degrees against the clock."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _resample(images, ((cosine, -sine, 0.0), (sine, cosine, 0.0)))


def shear(images: Tensor, degrees: float) -> Tensor:
    """Lean the upright lines of images by so many degrees to the right, as italics do; rows stay rows."""
    return _resample(images, ((1.0, math.tan(math.radians(degrees)), 0.0), (0.0, 1.0, 0.0)))


def add_gaussian_noise(images: Tensor, deviation: float) -> Tensor:
    """Add to each value a normal draw whose standard deviation is this fraction of white, and cut off beyond 0 and 255.

    Drawn from a seed and alike for each deviation but for its size.
    """
    drawn = torch.randn(images.shape, generator=torch.Generator().manual_seed(SEED), dtype=EXACT)
    return (images + drawn * (deviation * WHITE)).round_().clamp_(0, WHITE).to(torch.uint8)


def add_salt_and_pepper(images: Tensor, fraction: float) -> Tensor:
    """Set this fraction of the values to 0 or 255, each with the same chance; in colour each channel by itself.

    Drawn from a seed; a value that is set at one fraction is set alike at each larger one.
    """
    drawn = torch.rand(images.shape, generator=torch.Generator().manual_seed(SEED))
    return images.masked_fill(drawn < fraction / 2, 0).masked_fill(drawn >= 1 - fraction / 2, WHITE)
