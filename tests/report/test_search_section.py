from __future__ import annotations

from typing import Any

import pytest

from lenet.report.search_section import refit_runs, refit_table, search_paragraphs


def over_seeds(mean: float, n: int) -> dict[str, Any]:
    return {"n": n, "mean": mean, "deviation": 0.05 if n > 1 else None, "low": mean, "high": mean}


def summary(**change: Any) -> dict[str, Any]:
    body = {"sampler": "tpe", "pruner": "asha", "epochs": 30, "epochs_unpruned": 120}
    return body | {"trials": {"all": 12, "pruned": 8}, "best": {"trial": 4, "run": "b" * 64}} | change


def refit(mean: float = -0.2, p: float = 0.01, seeds: tuple[int, int] = (7, 6)) -> dict[str, Any]:
    found = {"n_a": seeds[0], "n_b": seeds[1], "mean": mean, "low": mean - 0.1, "high": mean + 0.1, "p": p}
    recipes = [
        {
            "trial": 4,
            "search_error": 0.6,
            "validation_error": over_seeds(0.9, 3),
            "failed": [],
            "runs": {"1": "c" * 64},
        },
        {
            "trial": 7,
            "search_error": 0.7,
            "validation_error": over_seeds(0.8, 2),
            "failed": [],
            "runs": {"1": "d" * 64},
        },
        {"trial": 9, "search_error": 0.8, "validation_error": over_seeds(0.1, 1), "failed": [2, 3], "runs": {}},
    ]
    return {
        "epochs": 20,
        "chosen": 7,
        "candidates": recipes,
        "comparison": found | {"confidence": 0.9, "detectable": 0.1},
        "confirmed": {"validation_error": over_seeds(0.85, seeds[0]), "runs": {"11": "e" * 64}},
        "baseline": {"variant": "plain", "validation_error": over_seeds(1.05, seeds[1]), "runs": {"11": "f" * 64}},
        "winners_curse": {"trial": 4, "epochs": 10, "search_error": 0.6, "optimism": 0.35}
        | {"fresh_seeds": over_seeds(0.95, 3), "runs": {"1": "a" * 64}},
    }


def test_epochs_saved_are_those_that_were_not_trained() -> None:
    size, _, curse = search_paragraphs(summary(), refit())
    assert "TPE proposed 12 trials, of which 8 were ended early (asha), which saved 75 % of the epochs." in size
    assert "trained again with 2 seeds on 20 epochs; trial 7 has the lowest mean" in size
    assert "saved 0 % of" in search_paragraphs(summary(epochs=120), refit())[0]
    assert "saved 0 % of" in search_paragraphs(summary(epochs=0, epochs_unpruned=0), refit())[0]
    assert "best single value was 0.60 % (trial 4); the same recipe with 3 fresh seeds and the same 10 epochs" in curse
    assert "gives 0.95 ± 0.05 %. The search was +0.35 points too hopeful." in curse


@pytest.mark.parametrize(
    ("mean", "told", "interval"), [(-0.2, "lower", "-0.30 to -0.10"), (0.2, "higher", "+0.10 to +0.30")]
)
def test_lower_is_lower(mean: float, told: str, interval: str) -> None:
    worth = search_paragraphs(summary(), refit(mean))[1]
    assert worth.startswith("What it is worth is told by 7 further seeds")
    assert f"0.20 points {told} than plain's with 6 seeds (90 % interval {interval}, Welch's test p = 0.01)" in worth


@pytest.mark.parametrize(
    ("p", "seeds", "said"),
    [
        (0.049, (5, 5), "chance would seldom show as much"),
        (0.051, (5, 5), "a difference is not shown"),
        (0.001, (5, 4), "so few seeds carry no claim"),
        (0.001, (4, 5), "so few seeds carry no claim"),
    ],
)
def test_a_claim_needs_a_small_p_and_enough_seeds(p: float, seeds: tuple[int, int], said: str) -> None:
    assert said in search_paragraphs(summary(), refit(-0.2, p, seeds))[1]


def test_recipes_are_ranked_by_their_means_and_what_failed_comes_last() -> None:
    assert [list(row) for row in refit_table(refit()).rows] == [
        ["trial 7", "0.70", "0.80 ± 0.05", "2"],
        ["trial 4", "0.60", "0.90 ± 0.05", "3"],
        ["trial 9 (failed with seed 2, 3)", "0.80", "0.10", "1"],
        ["trial 7, further seeds", "–", "0.85 ± 0.05", "7"],
        ["plain, the same seeds", "–", "1.05 ± 0.05", "6"],
    ]


def test_each_figure_leads_to_its_runs() -> None:
    found = refit_runs(summary(), refit(), "trials.csv")
    assert found["trial 7, further seeds"] == ["e" * 12]
    assert found["plain"] == ["f" * 12]
    assert found["fresh seeds of trial 4"] == ["a" * 12]
    assert found["the search's best"] == ["b" * 12]
