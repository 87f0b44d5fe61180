from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import ttest_ind

from lenet.evaluation.metrics import spread
from lenet.evaluation.stats.welch import SeedComparison, welch_test
from lenet.report.summary import Summary, compare_on_seeds, ranking, summarize, with_spread

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


def pair(a: str, b: str, difference: float = 0.1, p: float = 1.0, seeds: tuple[int, int] = (5, 5)) -> dict[str, Any]:
    row = {"a": a, "b": b, "seeds": list(seeds), "difference": difference}
    return row | {"interval": [difference - 0.1, difference + 0.2], "p": p, "holm_p": min(1.0, 3 * p)}


def told(errors: Errors, pairs: list[dict[str, Any]], against: dict[str, Any] | None = None, **test: float) -> Summary:
    return summarize(measured(errors, test) | {"against_baseline": against}, {"pairs": pairs}, errors)


def test_the_chosen_and_the_runner_up_are_those_of_validation() -> None:
    found = told(THREE, [pair("tanh", "norm"), pair("tanh", "relu"), pair("relu", "norm")], relu=0.1)
    assert ranking(measured(THREE)) == ["norm", "tanh", "relu"]  # relu's fourth seed counts in its mean
    assert found.lead.startswith("norm was chosen: 0.75 ± 0.07 % validation error (mean ± standard deviation, n = 2 s")
    assert "It misreads 0.50 ± 0.00 % of the 10,000 test images." in found.lead
    assert "The runner-up on validation is tanh with 0.90 ± 0.10 % (n = 3 seeds)." in found.lead
    assert found.grounds[-1].startswith("The lowest mean test error is relu's, 0.10")


def test_all_seeds_are_compared_whichever_they_are() -> None:
    found = compare_on_seeds(THREE, "tanh", "relu", 0.9)
    assert isinstance(found, SeedComparison)
    expected = ttest_ind([0.9, 0.8, 1.0], [0.8, 0.85, 0.9, 5.0], equal_var=False)
    assert (found.n_a, found.n_b, found.confidence) == (3, 4, 0.9)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.mean == pytest.approx(0.9 - 1.8875)


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ([0.9, 1.0, 0.95], "So few seeds carry no claim (over 5 and 3 seeds, p = "),
        ([1.5, 1.4, 1.51, 1.5], "So few seeds carry no claim (over 5 and 4 seeds, p = "),
        ([1.5], "cannot be said (1 seed: at least 2 are needed"),
        ([0.9, 0.7, 0.95, 0.6, 0.8], "That difference is not shown: over 5 and 5 seeds, p = "),
    ],
)
def test_few_seeds_claim_nothing_and_a_large_p_shows_nothing(other: list[float], verdict: str) -> None:
    errors = {"best": dict(enumerate([0.8, 0.7, 0.85, 0.7, 0.6])), "other": dict(enumerate(other))}
    found = told(errors, [pair("best", "other", seeds=(5, max(2, len(other))))])
    assert verdict in found.lead
    assert "chance explains" not in "".join((found.lead, *found.grounds))


def test_five_seeds_may_and_p_is_said() -> None:
    best, other = [0.8, 0.7, 0.75, 0.7, 0.8], [1.0, 0.9, 1.0, 0.9, 1.1]
    against = {"baseline": "other", "seeds": [5, 5], "difference": -0.3, "interval": [-0.4, -0.2], "p": 0.001}
    errors = {"best": dict(enumerate(best)), "other": dict(enumerate(other))}
    found = told(errors, [pair("other", "best", 0.3, 0.0001)], against)
    assert "Chance would seldom show as much: over 5 and 5 seeds, p = 0.00" in found.lead
    last, seeds, images = found.grounds
    assert last.startswith("On images that chose nothing: best against other, the baseline")
    assert "all seeds (5 and 5): -0.30 points (95 % interval -0.40 to -0.20), over images and seeds: p = 0.001" in last
    assert last.endswith("chance would seldom do that.")
    expected = welch_test(best, other)
    assert f"0.23 points lower than other's (5 and 5 seeds, 95 % interval {expected.low:+.2f} to" in seeds
    assert f"a true difference of {expected.detectable:.2f} points is found with 80 % power" in seeds
    assert "the same validation digits served every choice" in seeds
    assert "carry no claim" not in seeds
    assert "picked by the same figures" not in seeds  # of two there is one difference alone
    # Turned round: the chosen one first, its interval too.
    assert "best against the runner-up other: -0.30 points (95 % interval -0.50 to -0.20) over images and" in images
    assert "seeds, p = 0.0001: chance would seldom do that." in images


def test_the_runner_up_is_judged_by_the_adjusted_p() -> None:
    errors: Errors = {name: dict.fromkeys(range(5), error) for error, name in ((0.7, "a"), (0.8, "b"), (0.9, "c"))}
    pairs = [pair("a", "b", -0.1, 0.03), pair("a", "c"), pair("b", "c")]
    (images,) = [ground for ground in told(errors, pairs).grounds if ground.startswith("On the test images")]
    assert "p = 0.03, 0.09 after Holm for 3 comparisons: a difference is not shown." in images


@pytest.mark.parametrize(
    ("p", "seeds", "said"),
    [(0.001, [5, 3], "so few seeds carry no claim"), (0.2, [7, 7], "a difference is not shown")],
)
def test_the_baseline_is_claimed_against_by_p_and_enough_seeds(p: float, seeds: list[int], said: str) -> None:
    against = {"baseline": "relu", "seeds": seeds, "difference": -0.3, "interval": [-0.4, 0.2], "p": p}
    assert told(THREE, [], against).grounds[0].endswith(f"p = {p:.2g}, {said}.")


def test_the_seeds_may_speak_for_the_runner_up() -> None:
    errors = {"best": {seed: 1.0 + 0.01 * seed for seed in range(5)}, "other": dict.fromkeys(range(5), 1.5)}
    errors["other"][1] = 1.51
    body = measured(errors) | {"against_baseline": None}
    swapped = {"best": errors["other"], "other": errors["best"]}
    found = summarize(body, {"pairs": []}, swapped)  # of equals in the mean the order decides; here the seeds disagree
    assert "By all its seeds other is the better one" in found.lead
    assert "best's validation error is 0.48 points higher than other's (5 and 5 seeds" in found.grounds[0]


def test_one_variant_has_nobody_to_beat() -> None:
    found = told({"alone": {1: 0.5}}, [])
    assert found.lead.endswith("No other variant was trained.")
    assert "0.50 % validation error (mean ± standard deviation, n = 1 seed)" in found.lead
    assert found.grounds == ()


def test_one_run_shows_no_spread() -> None:
    assert with_spread({"mean": 1.234, "deviation": None}) == "1.23"
    assert with_spread({"mean": 1.234, "deviation": 0.5678}, 1) == "1.2 ± 0.6"
