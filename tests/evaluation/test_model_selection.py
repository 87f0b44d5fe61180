from __future__ import annotations

import pytest

from lenet.core.errors import LenetError
from lenet.evaluation.model_selection import choose


def test_the_lowest_mean_wins_and_within_it_the_lowest_seed() -> None:
    choice = choose({"a": {1: 2.0, 2: 1.0, 3: 3.0}, "b": {1: 1.5, 2: 1.7, 3: 1.6}, "c": {1: 0.5, 2: 9.0, 3: 4.0}})
    assert (choice.variant, choice.seed) == ("b", 1)  # not c, which has the best single run
    assert choice.validation["a"].mean == pytest.approx(2.0)
    assert choice.validation["a"].deviation == pytest.approx(1.0)
    assert choice.validation["a"].n == 3


def test_of_equals_the_one_named_first() -> None:
    assert choose({"b": {1: 1.0}, "a": {1: 1.0}}).variant == "b"
    assert choose({"a": {1: 1.0}, "b": {1: 1.0}}).variant == "a"
    assert choose({"a": {7: 1.0, 3: 1.0}}).seed == 7


def test_one_seed_has_no_deviation() -> None:
    choice = choose({"a": {4: 1.25}})
    assert (choice.variant, choice.seed, choice.validation["a"].deviation) == ("a", 4, None)


def test_without_validation_there_is_nothing_to_choose_by() -> None:
    with pytest.raises(
        LenetError, match=r"^b: has no validation error to choose by; set data\.validation_size above 0$"
    ):
        choose({"a": {1: 1.0}, "b": {}})
