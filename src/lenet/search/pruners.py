"""Who ends a trial early, from a closed table of names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lenet.search.search_config import SearchConfig

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


def build_pruner(search: SearchConfig) -> BasePruner:
    """Return the pruner; resources are epochs.

    ASHA is asynchronous successive halving (Li et al., 2020): a trial goes on past a rung if it is among the best
    one of `reduction_factor` that came so far. Hyperband (Li et al., 2018) runs several such ladders, which begin at
    different epochs.
    """
    from optuna import pruners

    if search.pruner == "asha":
        return pruners.SuccessiveHalvingPruner(
            min_resource=search.first_epoch, reduction_factor=search.reduction_factor
        )
    if search.pruner == "hyperband":
        return pruners.HyperbandPruner(
            min_resource=search.first_epoch, max_resource=search.epochs, reduction_factor=search.reduction_factor
        )
    if search.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=max(1, search.startup_trials), n_warmup_steps=search.first_epoch)
    return pruners.NopPruner()
