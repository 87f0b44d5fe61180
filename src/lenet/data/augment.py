"""Random translations of training images, free of interpolation: a window is cut out of a padded image."""

from __future__ import annotations

import torch
from torch import Tensor


class RandomShift:
    """Images padded to the network's input, each cut out up to `shift` pixels off centre.

    Args:
        images: bytes [n, channels, height, width]; the windows live on the same device.
        input_size: height and width of the windows in pixels, no less than the images'.
        shift: largest translation in pixels, in each direction.
    """

    def __init__(self, images: Tensor, input_size: tuple[int, int], shift: int) -> None:
        count, channels, height, width = images.shape
        full_height, full_width = input_size
        top, left = (full_height - height) // 2 + shift, (full_width - width) // 2 + shift
        padded = images.new_zeros(count, channels, full_height + 2 * shift, full_width + 2 * shift)
        padded[:, :, top : top + height, left : left + width] = images
        self.shift = shift
        # A view [n, 2·shift + 1, 2·shift + 1, channels, *input_size]: every translation is an index, not a copy.
        self._windows = padded.unfold(2, full_height, 1).unfold(3, full_width, 1).permute(0, 2, 3, 1, 4, 5)

    def draw_offsets(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` pairs of offsets [count, 2] from 0 to 2·shift on the generator's device."""
        return torch.randint(0, 2 * self.shift + 1, (count, 2), generator=generator)

    def cut(self, indices: Tensor, offsets: Tensor) -> Tensor:
        """Return the images `indices` [m] cut at `offsets` [m, 2] as bytes [m, channels, *input_size]."""
        return self._windows[indices, offsets[:, 0], offsets[:, 1]]
