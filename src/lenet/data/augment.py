"""Random translations of training images, free of interpolation: a window is cut out of a padded image."""

from __future__ import annotations

import torch
from torch import Tensor


class RandomShift:
    """Images on a field, each cut out up to `shift` pixels off centre.

    Args:
        images: bytes [n, 28, 28]; the windows live on the same device.
        field: height and width of the windows in pixels.
        shift: largest translation in pixels, in each direction.
    """

    def __init__(self, images: Tensor, field: int, shift: int) -> None:
        margin = (field - images.shape[-1]) // 2 + shift
        count, height, width = images.shape
        padded = images.new_zeros(count, height + 2 * margin, width + 2 * margin)
        padded[:, margin : margin + height, margin : margin + width] = images
        self.shift = shift
        # A view [n, 2·shift + 1, 2·shift + 1, field, field]: every translation is an index, not a copy.
        self._windows = padded.unfold(1, field, 1).unfold(2, field, 1)

    def draw_offsets(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` pairs of offsets [count, 2] from 0 to 2·shift on the generator's device."""
        return torch.randint(0, 2 * self.shift + 1, (count, 2), generator=generator)

    def cut(self, indices: Tensor, offsets: Tensor) -> Tensor:
        """Return the images `indices` [m] cut at `offsets` [m, 2] as bytes [m, field, field]."""
        return self._windows[indices, offsets[:, 0], offsets[:, 1]]
