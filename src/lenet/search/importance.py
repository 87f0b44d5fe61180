"""Importance of the parameters: how much the best trials' values differ from all trials' values."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study
    from optuna.importance import BaseImportanceEvaluator
    from optuna.trial import FrozenTrial

BEST_TRIALS, BEST_SHARE = 5, 0.1
"""The best are a tenth of the trials, and not fewer than five: fewer are no distribution."""

MIN_TRIALS = 2 * BEST_TRIALS
"""Complete trials below which importances would be chance."""


def error_of(trial: FrozenTrial) -> float:
    """Return a complete trial's validation error, the first objective of every search."""
    return float(trial.values[0])


def importances(study: Study) -> dict[str, float]:
    """Return each parameter's share by PED-ANOVA (Watanabe et al., 2023), largest first, adding to one.

    Complete trials alone count: errors after different numbers of epochs cannot be compared. Empty where there are
    fewer than MIN_TRIALS, or where neither errors nor parameters differ.
    """
    import optuna

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    trials = [trial for trial in complete if math.isfinite(error_of(trial))]
    names = sorted({name for trial in trials for name in trial.params})
    varied = [name for name in names if len({repr(trial.params.get(name, trial)) for trial in trials}) > 1]
    if len(trials) < MIN_TRIALS or len({error_of(trial) for trial in trials}) == 1 or not varied:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator is experimental, and estimates rare choices less surely
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator(len(trials)), params=varied, target=error_of, normalize=False
        )
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}


def evaluator(trials: int) -> BaseImportanceEvaluator:
    """Return the evaluator for so many complete trials."""
    from optuna.importance import PedAnovaImportanceEvaluator

    return PedAnovaImportanceEvaluator(target_quantile=max(BEST_SHARE, min(0.5, BEST_TRIALS / trials)))
