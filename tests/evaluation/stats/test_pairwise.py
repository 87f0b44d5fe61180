from __future__ import annotations

import numpy as np
import pytest

from lenet.evaluation.stats.images_and_seeds import compare_recipes
from lenet.evaluation.stats.pairwise import comparison_matrix

IMAGES = 4000
RATES = {"worst": 0.06, "alone": 0.05, "middle": 0.04, "best": 0.02}


@pytest.fixture(scope="module")
def misread() -> dict[str, np.ndarray]:
    """Which images the networks of each variant misread: three with two to four seeds, one with a single seed."""
    source = np.random.default_rng(4)
    seeds = {"worst": 2, "alone": 1, "middle": 3, "best": 4}
    difficulty = source.random(IMAGES)
    return {name: difficulty + 0.02 * source.random((seeds[name], IMAGES)) < rate for name, rate in RATES.items()}


def test_each_row_is_a_minus_b_at_the_confidence_that_was_asked_for(misread: dict[str, np.ndarray]) -> None:
    rows = comparison_matrix(misread, 0.8)
    assert [(row["a"], row["b"]) for row in rows] == [("worst", "middle"), ("worst", "best"), ("middle", "best")]
    for row in rows:
        a, b = misread[row["a"]], misread[row["b"]]
        expected = compare_recipes(a, b, 0.8)
        assert row["seeds"] == [len(a), len(b)]
        assert row["difference"] == pytest.approx(100 * (a.mean() - b.mean()), abs=1e-6)
        assert row["difference"] > 0  # the first of each pair misreads more
        assert row["interval"] == pytest.approx([expected.low, expected.high], abs=1e-6)
        assert row["p"] == expected.p
        wider = compare_recipes(a, b, 0.99)
        assert wider.low < row["interval"][0] < row["interval"][1] < wider.high


def test_p_is_adjusted_for_all_pairs_together(misread: dict[str, np.ndarray]) -> None:
    rows = comparison_matrix(misread, 0.95)
    ranked = sorted(rows, key=lambda row: row["p"])
    # Holm (1979): the smallest of three times 3, the next times 2, the largest as it is, and none below the one before.
    adjusted = np.minimum(1.0, np.maximum.accumulate([3 * ranked[0]["p"], 2 * ranked[1]["p"], ranked[2]["p"]]))
    assert [row["holm_p"] for row in ranked] == pytest.approx(adjusted.tolist())
    assert ranked[0]["holm_p"] > ranked[0]["p"]
    alone = comparison_matrix({name: misread[name] for name in ("worst", "best")}, 0.95)
    assert [row["holm_p"] for row in alone] == [row["p"] for row in alone]


def test_fewer_than_two_variants_have_no_pair(misread: dict[str, np.ndarray]) -> None:
    assert comparison_matrix({}, 0.95) == []
    assert comparison_matrix({name: misread[name] for name in ("alone", "best")}, 0.95) == []
