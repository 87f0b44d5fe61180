"""Samplers and pruners, each from a closed table of names."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from lenet.search.search_config import SearchConfig

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

SEED_LIMIT = 2**31


def build_sampler(search: SearchConfig, number: int) -> BaseSampler:
    """Return the sampler that proposes a trial.

    Args:
        search: the settings.
        number: the trial's number, which seeds the sampler together with the study's seed.
    """
    from optuna import samplers

    seed = search.seed if search.sampler_seed is None else search.sampler_seed
    own_seed = (seed * 1_000_003 + number) % SEED_LIMIT
    startup = search.startup_trials
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arguments that Optuna calls experimental
        if search.sampler == "tpe":
            # multivariate: joint proposals; group: conditional spaces; constant_liar: away from running trials
            return samplers.TPESampler(
                n_startup_trials=startup, multivariate=True, group=True, constant_liar=True, seed=own_seed
            )
        if search.sampler == "gp":
            return samplers.GPSampler(n_startup_trials=startup, seed=own_seed, warn_independent_sampling=False)
        if search.sampler == "cmaes":
            return samplers.CmaEsSampler(
                n_startup_trials=max(1, startup), seed=own_seed, warn_independent_sampling=False
            )
        if search.sampler == "qmc":  # one sequence for all trials
            first = samplers.RandomSampler(seed=own_seed)  # until a trial says which parameters there are
            return samplers.QMCSampler(
                scramble=True, seed=seed, independent_sampler=first, warn_independent_sampling=False
            )
        return samplers.RandomSampler(seed=own_seed)


def build_pruner(search: SearchConfig) -> BasePruner:
    """Return the pruner; resources are epochs.

    ASHA is asynchronous successive halving (Li et al., 2020): a trial is continued past a rung if it is among the best
    one of `reduction_factor` that came so far. Hyperband (Li et al., 2018) runs several such ladders, which begin at
    different epochs.
    """
    from optuna import pruners

    first, factor = search.first_epoch, search.reduction_factor
    if search.pruner == "asha":
        return pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
    if search.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=first, max_resource=search.epochs, reduction_factor=factor)
    if search.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=max(1, search.startup_trials), n_warmup_steps=first)
    return pruners.NopPruner()
