from __future__ import annotations

from typing import Any

import pytest
from scipy.stats import ttest_ind

from lenet.evaluation.metrics import SIGNIFICANT, spread
from lenet.evaluation.stats.welch import CLAIM_SEEDS, POWER
from lenet.report.facts import distortion_rows, error_at, ranking, summarize
from lenet.report.render import render

Errors = dict[str, dict[int, float]]
THREE: Errors = {"tanh": {1: 0.9, 2: 0.8, 3: 1.0}, "relu": {1: 0.8, 2: 0.85, 3: 0.9, 4: 5.0}, "norm": {1: 0.7, 2: 0.8}}


def seeded(**errors: list[float]) -> Errors:
    return {name: dict(enumerate(values)) for name, values in errors.items()}


def measured(errors: Errors, **test: float) -> dict[str, Any]:
    """results/evaluation.json of these validation errors; the test error is 0.5 % unless `test` says otherwise."""
    variants = {}
    for name, by_seed in errors.items():
        found = spread([test.get(name, 0.5)] * len(by_seed))
        variants[name] = {"validation_error": vars(spread(list(by_seed.values()))), "test_error": vars(found)}
    best = min(variants, key=lambda name: variants[name]["validation_error"]["mean"])
    body = {"images": 10000, "confidence": 0.95, "choice": {"variant": best, "seed": 1}, "variants": variants}
    return body | {"against_baseline": None}


def pair(a: str, b: str, difference: float = 0.1, p: float = 1.0, seeds: tuple[int, int] = (5, 5)) -> dict[str, Any]:
    row = {"a": a, "b": b, "seeds": list(seeds), "difference": difference}
    return row | {"interval": [difference - 0.1, difference + 0.2], "p": p, "holm_p": min(1.0, 3 * p)}


def written(template: str, evaluation: dict[str, Any], errors: Errors, pairs: tuple[dict[str, Any], ...] = ()) -> str:
    """The text of lead.md.j2 or chance.md.j2."""
    levels = {"claim_seeds": CLAIM_SEEDS, "significant": SIGNIFICANT, "power": POWER}
    summary = summarize(evaluation, {"pairs": pairs}, errors)
    return render(template, {"evaluation": evaluation, "summary": summary, **levels}).strip()


def test_the_chosen_and_the_runner_up_are_those_of_validation() -> None:
    evaluation = measured(THREE, relu=0.1)
    assert ranking(evaluation) == ["norm", "tanh", "relu"]  # relu's fourth seed counts in its mean
    found = summarize(evaluation, {"pairs": [pair("tanh", "norm"), pair("tanh", "relu")]}, THREE)
    assert (found.best, found.second, found.lowest_on_test, found.pairs) == ("norm", "tanh", "relu", 2)
    expected = ttest_ind([0.7, 0.8], [0.9, 0.8, 1.0], equal_var=False)
    assert found.seeds is not None
    assert (found.seeds.n_a, found.seeds.n_b) == (2, 3)
    assert found.seeds.p == pytest.approx(expected.pvalue)
    assert "lowest mean test error is relu's, 0.10" in written("chance.md.j2", evaluation, THREE)
    assert summarize(measured(THREE), {"pairs": []}, THREE).lowest_on_test is None


def test_the_pair_is_turned_to_the_chosen_first() -> None:
    found = summarize(measured(THREE), {"pairs": [pair("tanh", "norm", 0.3, seeds=(3, 2))]}, THREE).pair
    assert found is not None
    assert (found["a"], found["b"], found["difference"], found["seeds"]) == ("norm", "tanh", -0.3, [2, 3])
    assert found["interval"] == pytest.approx([-0.5, -0.2])


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ([0.9, 1.0, 0.95], "So few seeds support no claim (5 and 3 seeds, p = "),
        ([1.5, 1.4, 1.51, 1.5], "So few seeds support no claim (5 and 4 seeds, p = "),
        ([1.5], "cannot be said (1 seed: at least 2 are needed"),
        ([0.9, 0.7, 0.95, 0.6, 0.8], "The difference is not significant (5 and 5 seeds, p = "),
        ([1.0, 0.9, 1.0, 0.9, 1.1], "The difference is significant (5 and 5 seeds, p = 0.00"),
    ],
)
def test_a_claim_needs_a_small_p_and_enough_seeds(other: list[float], verdict: str) -> None:
    errors = seeded(best=[0.8, 0.7, 0.75, 0.7, 0.6], other=other)
    assert verdict in written("lead.md.j2", measured(errors), errors)


def test_each_test_is_a_paragraph() -> None:
    errors = seeded(best=[0.8, 0.7, 0.75, 0.7, 0.8], other=[1.0, 0.9, 1.0, 0.9, 1.1])
    against = {"baseline": "other", "seeds": [5, 5], "difference": -0.3, "interval": [-0.4, -0.2], "p": 0.001}
    evaluation = measured(errors) | {"against_baseline": against}
    text = written("chance.md.j2", evaluation, errors, (pair("other", "best", 0.3, 0.0001),))
    baseline, seeds, images = text.split("\n\n")
    assert "(5 and 5): -0.30 points (95 % interval -0.40 to -0.20), over images and seeds: p = 0.001, sig" in baseline
    assert "0.23 points lower than other's (5 and 5 seeds, 95 % interval -0.33 to -0.13" in seeds
    assert "80 % power" in seeds
    assert "support no claim" not in seeds
    assert "picked by the same figures" not in seeds  # of two there is one difference alone
    assert "best minus the runner-up other: -0.30 points (95 % interval -0.50 to -0.20) over images and" in images
    assert "p = 0.0001: significant." in images


def test_the_runner_up_is_judged_by_the_adjusted_p() -> None:
    errors: Errors = {name: dict.fromkeys(range(5), error) for error, name in ((0.7, "a"), (0.8, "b"), (0.9, "c"))}
    text = written(
        "chance.md.j2", measured(errors), errors, (pair("a", "b", -0.1, 0.03), pair("a", "c"), pair("b", "c"))
    )
    assert "p = 0.03, 0.09 after Holm for 3 comparisons: not significant." in text


@pytest.mark.parametrize(("p", "seeds", "said"), [(0.001, [5, 3], "so few seeds"), (0.2, [7, 7], "not significant")])
def test_the_baseline_is_claimed_against_by_p_and_enough_seeds(p: float, seeds: list[int], said: str) -> None:
    against = {"baseline": "relu", "seeds": seeds, "difference": -0.3, "interval": [-0.4, 0.2], "p": p}
    text = written("chance.md.j2", measured(THREE) | {"against_baseline": against}, THREE)
    assert f"p = {p:.2g}, {said}" in text.split("\n\n")[0]


def test_the_seeds_may_favour_the_runner_up() -> None:
    errors = seeded(best=[1.0, 1.01, 1.02, 1.03, 1.04], other=[1.5, 1.51, 1.5, 1.5, 1.5])
    swapped = {"best": errors["other"], "other": errors["best"]}
    assert "Over all its seeds other is the better one" in written("lead.md.j2", measured(errors), swapped)
    assert "0.48 points higher than other's (5 and 5 seeds" in written("chance.md.j2", measured(errors), swapped)


def test_one_variant_has_no_runner_up() -> None:
    errors: Errors = {"alone": {1: 0.5}}
    text = written("lead.md.j2", measured(errors), errors)
    assert "0.50 % validation error (mean ± standard deviation, n = 1 seed)" in text
    assert text.endswith("No other variant was trained.")
    assert written("chance.md.j2", measured(errors), errors) == ""


def network(*errors: float) -> dict[str, Any]:
    levels = {"shift": 10.0, "rotation": 30.0, "Gaussian noise": 0.3, "salt and pepper": 0.1}
    curves = [
        {"distortion": kind, "unit": "pixels there", "levels": [0.0, level, 2 * level], "errors": [0.5, error, 99.0]}
        for (kind, level), error in zip(levels.items(), errors, strict=True)
    ]
    return {"robustness": curves}


def test_distorted_errors_are_means_over_the_seeds_at_one_strength() -> None:
    networks = {
        "tanh": [network(1.0, 2.0, 3.0, 4.0), network(2.0, 4.0, 6.0, 8.0)],
        "norm": [network(5.0, 6.0, 7.0, 8.0)],
    }
    rows = distortion_rows(networks)
    assert [(row["kind"], row["level"], row["unit"]) for row in rows[:2]] == [
        ("shift", 10.0, "pixels there"),
        ("rotation", 30.0, "pixels there"),
    ]
    assert [row["errors"]["tanh"]["mean"] for row in rows] == [1.5, 3.0, 4.5, 6.0]
    assert [(row["errors"]["norm"]["mean"], row["errors"]["norm"]["n"]) for row in rows[:1]] == [(5.0, 1)]
    assert error_at(networks["norm"][0], "rotation", 30.0) == pytest.approx(6.0)
