"""Random translations of training images, free of interpolation: a window is cut out of a padded image."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class RandomShift:
    """Images padded to the network's input, each cut out up to `shift` pixels off centre.

    Args:
        images: bytes [n, channels, height, width]; the windows live on the same device, and are made when one is cut.
        input_size: height and width of the windows in pixels, no less than the images'.
        shift: largest translation in pixels, in each direction.
    """

    def __init__(self, images: Tensor, input_size: tuple[int, int], shift: int) -> None:
        self.images = images
        self.shift = shift
        self._input_size = input_size

    @cached_property
    def _windows(self) -> Tensor:
        """A view [n, 2·shift + 1, 2·shift + 1, channels, *input_size]: every translation is an index, not a copy."""
        (count, channels, height, width), (full_height, full_width) = self.images.shape, self._input_size
        top, left = (full_height - height) // 2 + self.shift, (full_width - width) // 2 + self.shift
        padded = self.images.new_zeros(count, channels, full_height + 2 * self.shift, full_width + 2 * self.shift)
        padded[:, :, top : top + height, left : left + width] = self.images
        return padded.unfold(2, full_height, 1).unfold(3, full_width, 1).permute(0, 2, 3, 1, 4, 5)

    def draw_offsets(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` pairs of offsets [count, 2] from 0 to 2·shift on the generator's device."""
        return torch.randint(0, 2 * self.shift + 1, (count, 2), generator=generator)

    def cut(self, indices: Tensor, offsets: Tensor) -> Tensor:
        """Return the images `indices` [m] cut at `offsets` [m, 2] as bytes [m, channels, *input_size]."""
        return self._windows[indices, offsets[:, 0], offsets[:, 1]]
