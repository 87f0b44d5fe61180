"""Every variant against every other on the same test images: who misreads less, and whether chance explains it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet.evaluation.paired import compare, holm

DECIMALS = 6


def comparison_matrix(misread: Mapping[str, NDArray[np.bool_]], confidence: float) -> list[dict[str, Any]]:
    """Compare every pair of networks by McNemar's exact test, the p-values adjusted together after Holm (1979).

    Args:
        misread: for each variant which images its network misreads, bool [n]; one network a variant, the one with the
            lowest validation error, for the test speaks of two networks and not of two recipes.
        confidence: of the interval of the difference (Tango, 1998).

    Returns:
        One row a pair: a, b, only_a and only_b (images that one alone misreads), difference of error a - b in
        percentage points with its interval, p and holm_p.
    """
    pairs = list(itertools.combinations(misread, 2))
    found = [compare(misread[a], misread[b], confidence) for a, b in pairs]
    adjusted = holm([one.p for one in found]) if found else ()
    rows = []
    for (a, b), one, p in zip(pairs, found, adjusted, strict=True):
        counts = one.counts
        rows.append(
            {
                "a": a,
                "b": b,
                "only_a": counts.only_a,
                "only_b": counts.only_b,
                "difference": round(counts.difference, DECIMALS),
                "interval": [round(one.low, DECIMALS), round(one.high, DECIMALS)],
                "p": one.p,
                "holm_p": p,
            }
        )
    return rows
