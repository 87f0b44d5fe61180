"""Every variant against every other on the same test images, over images and seeds: who misreads less, is it shown?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from lenet.evaluation.stats.images_and_seeds import MIN_SEEDS, Misread, RecipeDifference, compare_recipes
from lenet.evaluation.stats.mcnemar import holm

DECIMALS = 6


def comparison_matrix(misread: Mapping[str, Misread], confidence: float) -> list[dict[str, Any]]:
    """Compare every pair of variants over images and seeds, the p-values adjusted together after Holm (1979).

    Args:
        misread: for each variant which images the network of each of its seeds misreads, bool [seeds, n]. A variant
            with one seed is left out: two networks are compared by `lenet compare`.
        confidence: of the interval of the difference (`compare_recipes`).

    Returns:
        One row a pair: a, b, their seeds, difference of mean error a - b in percentage points with its interval, p
        and holm_p.
    """
    pairs = list(itertools.combinations((name for name, found in misread.items() if len(found) >= MIN_SEEDS), 2))
    found = [compare_recipes(misread[a], misread[b], confidence) for a, b in pairs]
    adjusted = holm([one.p for one in found]) if found else ()
    return [
        {"a": a, "b": b} | difference_tree(one) | {"holm_p": p}
        for (a, b), one, p in zip(pairs, found, adjusted, strict=True)
    ]


def difference_tree(found: RecipeDifference) -> dict[str, Any]:
    """Return a difference as JSON takes it."""
    return {
        "seeds": [found.seeds_a, found.seeds_b],
        "difference": round(found.difference, DECIMALS),
        "interval": [round(found.low, DECIMALS), round(found.high, DECIMALS)],
        "p": found.p,
    }
