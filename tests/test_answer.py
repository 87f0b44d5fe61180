from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import ttest_rel

from lenet.answer import Answer, answer, compare_on_seeds, ranking, with_spread
from lenet.evaluation.measures import spread
from lenet.evaluation.over_seeds import SeedComparison

Errors = dict[str, dict[int, float]]
THREE: Errors = {"tanh": {1: 0.9, 2: 0.8, 3: 1.0}, "relu": {1: 0.8, 2: 0.85, 3: 0.9, 4: 5.0}, "norm": {1: 0.7, 2: 0.8}}


def measured(errors: Errors, test: dict[str, float] | None = None) -> dict[str, Any]:
    """results/evaluation.json of these validation errors; the test error is 0.5 % unless `test` says otherwise."""
    variants = {}
    for name, by_seed in errors.items():
        over_seeds = spread(list(by_seed.values()))
        found = spread([(test or {}).get(name, 0.5)] * len(by_seed))
        variants[name] = {"validation_error": vars(over_seeds), "test_error": vars(found)}
    best = min(variants, key=lambda name: variants[name]["validation_error"]["mean"])
    return {"images": 10000, "confidence": 0.95, "choice": {"variant": best, "seed": 1}, "variants": variants}


def pair(a: str, b: str, only_a: int, only_b: int, p: float = 1.0) -> dict[str, Any]:
    difference = (only_a - only_b) / 100
    interval = [difference - 0.1, difference + 0.2]
    row = {"a": a, "b": b, "only_a": only_a, "only_b": only_b, "difference": difference}
    return row | {"interval": interval, "p": p, "holm_p": min(1.0, 3 * p)}


def told(errors: Errors, pairs: list[dict[str, Any]], **test: float) -> Answer:
    return answer(measured(errors, test), {"pairs": pairs}, errors)


def test_the_chosen_and_the_runner_up_are_those_of_validation() -> None:
    found = told(THREE, [pair("tanh", "norm", 4, 9), pair("tanh", "relu", 3, 3), pair("relu", "norm", 3, 3)], relu=0.1)
    assert ranking(measured(THREE)) == ["norm", "tanh", "relu"]  # relu's fourth seed counts in its mean
    assert found.lead.startswith("norm was chosen: 0.75 ± 0.07 % validation error (mean ± standard deviation, n = 2 s")
    assert "It misreads 0.50 ± 0.00 % of the 10,000 test images." in found.lead
    assert "The runner-up on validation is tanh with 0.90 ± 0.10 % (n = 3 seeds)." in found.lead
    assert found.grounds[-1].startswith("The lowest mean test error is relu's, 0.10")


def test_only_shared_seeds_are_paired() -> None:
    found = compare_on_seeds(THREE, "tanh", "relu", 0.9)
    assert isinstance(found, SeedComparison)
    expected = ttest_rel([0.9, 0.8, 1.0], [0.8, 0.85, 0.9])
    assert (found.n, found.confidence) == (3, 0.9)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.mean == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ({1: 0.9, 2: 1.0, 3: 0.95}, "That difference may well be chance: over 3 shared seeds, p = "),
        ({1: 1.5, 2: 1.4, 3: 1.51}, "but so few seeds carry no claim; 5 or more would."),
        ({4: 1.5, 5: 1.4}, "cannot be said: no two seeds or more"),
        ({1: 1.5}, "cannot be said: no two seeds or more"),
    ],
)
def test_few_seeds_claim_nothing(other: dict[int, float], verdict: str) -> None:
    found = told({"best": {1: 0.8, 2: 0.7, 3: 0.85}, "other": other}, [pair("best", "other", 30, 31)])
    assert verdict in found.lead


def test_five_seeds_may_and_p_is_said() -> None:
    errors = {"best": dict(enumerate([0.8, 0.7, 0.75, 0.7, 0.8])), "other": dict(enumerate([1.0, 0.9, 1.0, 0.9, 1.1]))}
    found = told(errors, [pair("other", "best", 40, 10, 0.0001)])
    assert "Chance would seldom show as much: over 5 shared seeds, p = 0.000" in found.lead
    assert "0.23 points lower than other's (95 % interval -0.29 to -0.17" in found.grounds[0]
    assert "say little" not in found.grounds[0]
    assert "picked by the same figures" not in found.grounds[0]  # of two there is one difference alone
    # Turned round: the chosen one first, its interval too.
    assert "best's alone misreads 10 of 10,000 images and other's alone 40" in found.grounds[1]
    assert "of -0.30 points (95 % interval -0.50 to -0.20; McNemar's exact test, p = 0.0001)" in found.grounds[1]
    assert "chance would seldom do that" in found.grounds[1]
    assert len(found.grounds) == 2


def test_shared_seeds_may_speak_for_the_runner_up() -> None:
    errors = {
        "best": {1: 0.8, 2: 0.9, 3: 1.0, 4: 0.1, 5: 0.1},
        "other": {1: 0.7, 2: 0.81, 3: 0.9},
    }
    assert "Over the 3 shared seeds other is the better one" in told(errors, [pair("best", "other", 1, 1)]).lead


def test_one_variant_has_nobody_to_beat() -> None:
    found = told({"alone": {1: 0.5}}, [])
    assert found.lead.endswith("No other variant was trained.")
    assert "0.50 % validation error (mean ± standard deviation, n = 1 seed)" in found.lead
    assert found.grounds == ()


def test_one_run_shows_no_spread() -> None:
    assert with_spread({"mean": 1.234, "deviation": None}) == "1.23"
    assert with_spread({"mean": 1.234, "deviation": 0.5678}, 1) == "1.2 ± 0.6"
