"""How often two networks misclassify the same images: all that a paired comparison of their errors needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import PERCENT


@dataclass(frozen=True)
class PairedCounts:
    """How often two networks misread the same images.

    Attributes:
        n: images.
        both: misread by both.
        only_a: misread by a alone.
        only_b: misread by b alone.
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


def count_pairs(misread_a: NDArray[np.bool_], misread_b: NDArray[np.bool_]) -> PairedCounts:
    """Count the images that both networks, or one of them alone, misread.

    Args:
        misread_a: bool [n], the images that network a misreads, as `measures.misclassified` gives them.
        misread_b: bool [n], the same for b, in the same order.

    Raises:
        LenetError: the two are not bool vectors of one length, or there is not one image.
    """
    if misread_a.ndim != 1 or misread_b.ndim != 1 or misread_a.dtype != bool or misread_b.dtype != bool:
        kinds = f"{misread_a.dtype}{list(misread_a.shape)} and {misread_b.dtype}{list(misread_b.shape)}"
        raise LenetError(f"{kinds} are not two bool [n]: one true or false for each image is needed")
    if len(misread_a) != len(misread_b):
        raise LenetError(f"{len(misread_a):,} and {len(misread_b):,} images cannot be paired: score both on the same")
    if not len(misread_a):
        raise LenetError("no image: nothing can be compared")
    both = int(np.count_nonzero(misread_a & misread_b))
    only_a, only_b = int(np.count_nonzero(misread_a)) - both, int(np.count_nonzero(misread_b)) - both
    return PairedCounts(len(misread_a), both, only_a, only_b)
