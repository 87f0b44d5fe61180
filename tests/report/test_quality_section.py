from __future__ import annotations

from typing import Any

import pytest

from lenet.report.quality_section import distorted_error, pairs_table, quality_table


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
    assert [list(row) for row in pairs_table({"pairs": pairs}).rows] == [
        ["norm – relu", "5 : 7", "-0.25 (-0.35 to -0.05)", "0.003", "norm"],
        ["norm – silu", "7 : 3", "-0.20 (-0.30 to +0.00)", "0.004", "not shown"],  # three seeds carry no claim
        ["tanh – relu", "5 : 7", "+0.30 (+0.20 to +0.50)", "0.006", "relu"],
        ["norm – tanh", "5 : 7", "-0.20 (-0.30 to +0.00)", "0.06", "not shown"],  # 0.03 before the adjustment
    ]


def network(parameters: int, *errors: float) -> dict[str, Any]:
    levels = {"shift": 3.0, "rotation": 30.0, "Gaussian noise": 0.3, "salt and pepper": 0.1}
    curves = [
        {"distortion": kind, "unit": "pixels there", "levels": [0.0, level, 2 * level], "errors": [0.5, error, 99.0]}
        for (kind, level), error in zip(levels.items(), errors, strict=True)
    ]
    return {"parameters": parameters, "robustness": curves}


def test_distorted_errors_are_means_over_the_seeds_at_one_strength() -> None:
    networks = {"tanh": [network(61706, 1.0, 2.0, 3.0, 4.0), network(61706, 2.0, 4.0, 6.0, 8.0)]}
    networks["norm"] = [network(61750, 5.0, 6.0, 7.0, 8.0)]
    spreads = {"tanh": {"mean": 4.5, "deviation": 0.25}, "norm": {"mean": 1.0, "deviation": None}}
    evaluation = {"variants": {name: {"calibration_error": found} for name, found in spreads.items()}}
    table = quality_table(evaluation, {"networks": networks})
    assert [list(row) for row in table.rows] == [
        ["tanh", "61,706", "4.50 ± 0.25", "1.5", "3.0", "4.5", "6.0"],
        ["norm", "61,750", "1.00", "5.0", "6.0", "7.0", "8.0"],
    ]
    assert list(table.header)[3:5] == ["shift 3 pixels %", "rotation 30 pixels %"]
    assert distorted_error(networks["norm"][0], "rotation", 30.0) == pytest.approx(6.0)
