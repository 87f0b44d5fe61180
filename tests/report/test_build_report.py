from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lenet.report.build_report import ranked_pairs, run_rows, search_facts


def pair(a: str, b: str, difference: float, p: float, holm_p: float, seeds: tuple[int, int] = (5, 7)) -> dict[str, Any]:
    interval = [difference - 0.1, difference + 0.2]
    return {"a": a, "b": b, "seeds": list(seeds), "difference": difference, "interval": interval, "p": p} | {
        "holm_p": holm_p
    }


def test_the_better_of_a_pair_is_the_one_with_the_lower_error() -> None:
    pairs = [
        pair("tanh", "relu", 0.3, 0.002, 0.006),
        pair("norm", "relu", -0.25, 0.001, 0.003),
        pair("norm", "tanh", -0.2, 0.03, 0.06),
        pair("norm", "silu", -0.2, 0.001, 0.004, seeds=(7, 3)),
    ]
    assert [(one["a"], one["b"], one["better"]) for one in ranked_pairs({"pairs": pairs})] == [
        ("norm", "relu", "norm"),
        ("norm", "silu", None),  # three seeds support no claim
        ("tanh", "relu", "relu"),
        ("norm", "tanh", None),  # 0.03 before the adjustment
    ]


def test_runs_have_both_errors_of_their_seed() -> None:
    evaluation = {"variants": {"tanh": {"runs": [{"seed": 2, "fingerprint": "f2", "error": 0.7}]}}}
    trained = [SimpleNamespace(seed=seed, epochs=seed, metrics={"val/error": seed / 10}) for seed in (1, 2)]
    expected = {"fingerprint": "f2", "variant": "tanh", "seed": 2, "epochs": 2}
    assert run_rows(evaluation, {"tanh": trained}) == [expected | {"validation_error": 0.2, "test_error": 0.7}]


def over_seeds(mean: float, n: int) -> dict[str, Any]:
    return {"n": n, "mean": mean, "deviation": 0.05, "low": mean, "high": mean}


def candidate(trial: int, mean: float, n: int, failed: list[int], runs: dict[str, str]) -> dict[str, Any]:
    error = over_seeds(mean, n)
    return {"trial": trial, "search_error": trial / 10, "validation_error": error, "failed": failed, "runs": runs}


REFIT: dict[str, Any] = {
    "chosen": 7,
    "candidates": [
        candidate(4, 0.9, 2, [], {"1": "c", "2": "cc"}),
        candidate(7, 0.8, 2, [], {"1": "d", "2": "dd"}),
        candidate(9, 0.1, 1, [2, 3], {"1": "g"}),
    ],
    "confirmed": {"validation_error": over_seeds(0.85, 7), "runs": {"11": "e"}},
    "baseline": {"variant": "plain", "validation_error": over_seeds(1.05, 6), "runs": {"11": "f"}},
    "winners_curse": {"trial": 4, "runs": {"1": "a"}},
}


@pytest.mark.parametrize(("epochs", "unpruned", "saved"), [(30, 120, 75), (120, 120, 0), (0, 0, 0)])
def test_epochs_saved_are_those_that_were_not_trained(epochs: int, unpruned: int, saved: float) -> None:
    search = {"epochs": epochs, "epochs_unpruned": unpruned, "best": {"run": "b"}}
    assert search_facts(search, REFIT)["epochs_saved"] == pytest.approx(saved)


def test_recipes_are_ranked_by_their_means_and_those_that_failed_come_last() -> None:
    facts = search_facts({"epochs": 1, "epochs_unpruned": 1, "best": {"run": "b"}}, REFIT)
    assert [(row["name"], row["search_error"], row["error"]["mean"]) for row in facts["refitted"]] == [
        ("trial 7", 0.7, 0.8),
        ("trial 4", 0.4, 0.9),
        ("trial 9 (failed with seed 2, 3)", 0.9, 0.1),
        ("trial 7, further seeds", None, 0.85),
        ("plain, the same seeds", None, 1.05),
    ]
    assert facts["refit_seeds"] == 3
    assert facts["search_runs"] == {
        "trial 4": ["c", "cc"],
        "trial 7": ["d", "dd"],
        "trial 9": ["g"],
        "trial 7, further seeds": ["e"],
        "plain": ["f"],
        "new seeds of trial 4": ["a"],
        "the search's best": ["b"],
    }
