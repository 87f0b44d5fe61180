"""How often two networks misclassify the same images: all that a paired comparison of their errors needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import PERCENT


@dataclass(frozen=True)
class PairedCounts:
    """How often two networks misclassify the same images.

    Attributes:
        n: images.
        both: misclassified by both.
        only_a: misclassified by a alone.
        only_b: misclassified by b alone.
    """

    n: int
    both: int
    only_a: int
    only_b: int

    @property
    def error_a(self) -> float:
        """Error of a in percent."""
        return PERCENT * (self.both + self.only_a) / self.n

    @property
    def error_b(self) -> float:
        """Error of b in percent."""
        return PERCENT * (self.both + self.only_b) / self.n

    @property
    def difference(self) -> float:
        """Error of a minus error of b, in percentage points."""
        return PERCENT * (self.only_a - self.only_b) / self.n


def count_pairs(wrong_a: NDArray[np.bool_], wrong_b: NDArray[np.bool_]) -> PairedCounts:
    """Count the images that both networks, or one of them alone, misclassify.

    Args:
        wrong_a: bool [n], the images that network a misclassifies, as `metrics.misclassified` gives them.
        wrong_b: bool [n], the same for b, in the same order.

    Raises:
        LenetError: the two are not bool vectors of one length, or there is not one image.
    """
    if wrong_a.ndim != 1 or wrong_b.ndim != 1 or wrong_a.dtype != bool or wrong_b.dtype != bool:
        kinds = f"{wrong_a.dtype}{list(wrong_a.shape)} and {wrong_b.dtype}{list(wrong_b.shape)}"
        raise LenetError(f"{kinds} are not two bool [n]: one true or false for each image is needed")
    if len(wrong_a) != len(wrong_b):
        raise LenetError(f"{len(wrong_a):,} and {len(wrong_b):,} images cannot be paired: score both on the same")
    if not len(wrong_a):
        raise LenetError("no image: nothing can be compared")
    both = int(np.count_nonzero(wrong_a & wrong_b))
    only_a, only_b = int(np.count_nonzero(wrong_a)) - both, int(np.count_nonzero(wrong_b)) - both
    return PairedCounts(len(wrong_a), both, only_a, only_b)
