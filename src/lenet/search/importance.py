"""Which fields tell a search's best trials from the rest, as far as so few trials can tell."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study
    from optuna.importance import BaseImportanceEvaluator
    from optuna.trial import FrozenTrial

BEST_TRIALS, BEST_SHARE = 5, 0.1
"""The best are a tenth of the trials, and not fewer than five: fewer are no distribution."""

MIN_TRIALS = 2 * BEST_TRIALS
"""Complete trials below which any answer would be chance."""


@dataclass(frozen=True)
class Importance:
    """How much each field matters.

    Attributes:
        shares: by field, the largest first, adding to one; only fields that had more than one value. Empty where
            nothing can be told.
        trials: complete trials that it was told from.
        reason: why nothing can be told; empty where there are shares.
    """

    shares: dict[str, float] = field(default_factory=dict)
    trials: int = 0
    reason: str = ""


def error_of(trial: FrozenTrial) -> float:
    """Return a complete trial's validation error, which is the first objective of every search."""
    return float(trial.values[0])


def importance(study: Study) -> Importance:
    """Return how much each field's values differ between the best trials and all (PED-ANOVA, Watanabe et al., 2023).

    Only complete trials count: an error after one epoch cannot be compared with an error after all.
    """
    import optuna

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    measured = [trial for trial in complete if math.isfinite(error_of(trial))]
    count = len(measured)
    if count < MIN_TRIALS:
        return Importance(
            trials=count,
            reason=f"{count} complete trial{'' if count == 1 else 's'}: at least {MIN_TRIALS} tell what matters.",
        )
    if len({error_of(trial) for trial in measured}) == 1:
        return Importance(trials=count, reason="All complete trials have the same validation error.")
    names = varied(measured)
    if not names:
        return Importance(trials=count, reason="No field had more than one value.")
    with warnings.catch_warnings():
        # That this is new in Optuna, that a low target is the better one, that a rare choice is told less surely.
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator(count), params=names, target=error_of, normalize=False
        )
    total = sum(found.values())
    if not total > 0:
        return Importance(trials=count, reason="In no field do the best trials differ from the others.")
    ordered = sorted(found, key=lambda name: (-found[name], names.index(name)))
    return Importance({name: found[name] / total for name in ordered}, count)


def varied(trials: list[FrozenTrial]) -> list[str]:
    """Return the fields that have more than one value in the trials, or are not in all of them, by name."""
    names = sorted({name for trial in trials for name in trial.params})
    return [name for name in names if len({repr(trial.params.get(name, trial)) for trial in trials}) > 1]


def evaluator(count: int) -> BaseImportanceEvaluator:
    """Return what tells importances from so many complete trials."""
    from optuna.importance import PedAnovaImportanceEvaluator

    return PedAnovaImportanceEvaluator(target_quantile=max(BEST_SHARE, min(0.5, BEST_TRIALS / count)))
