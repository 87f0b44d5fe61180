"""The choice of a variant and of a model, on validation alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lenet.core.errors import LenetError
from lenet.evaluation.metrics import Spread, spread


@dataclass(frozen=True)
class Choice:
    """What was chosen, and on what grounds.

    Attributes:
        variant: the variant with the lowest mean validation error over its seeds.
        seed: its seed with the lowest validation error: the model that is registered.
        validation: each variant's validation error over its seeds, in percent.
    """

    variant: str
    seed: int
    validation: dict[str, Spread]


def choose(errors: Mapping[str, Mapping[int, float]]) -> Choice:
    """Choose by mean validation error; of equals the one named first.

    Args:
        errors: validation error in percent of each variant's seeds.

    Raises:
        LenetError: there is nothing to choose by: a variant trained without validation.
    """
    validation = {}
    for variant, by_seed in errors.items():
        if not by_seed:
            raise LenetError(f"{variant}: has no validation error to choose by; set data.validation_size above 0")
        validation[variant] = spread(list(by_seed.values()))
    best = min(validation, key=lambda variant: validation[variant].mean)
    seeds = errors[best]
    return Choice(best, min(seeds, key=lambda seed: seeds[seed]), validation)
