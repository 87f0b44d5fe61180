"""Who proposes the next trial, from a closed table of names."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from lenet.search.search_config import SearchConfig

Sampler = Literal["tpe", "gp", "random", "qmc", "cmaes"]
SEED_LIMIT = 2**31


def build_sampler(search: SearchConfig, worker: int) -> BaseSampler:
    """Return the sampler of one worker of a search; the worker's number as in `named_sampler`."""
    return named_sampler(search.sampler, search.startup_trials, search.seed, worker)


def named_sampler(name: Sampler, startup_trials: int, seed: int, worker: int) -> BaseSampler:
    """Return the sampler of one worker of a study.

    Args:
        name: TPE, a Gaussian process, chance, a Sobol sequence, CMA-ES.
        startup_trials: trials drawn at random before TPE, GP or CMA-ES look at what came out.
        seed: of the study.
        worker: the worker's number within the study, never given twice. Samplers with the same seed propose the same
            trials, so each worker, today's and tomorrow's, has a seed of its own.
    """
    import optuna
    from optuna import samplers

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    own_seed = (seed * 1_000_003 + worker) % SEED_LIMIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a knob of Optuna's is experimental is no news for a user of ours
        if name == "tpe":
            # Together (multivariate), in the groups that conditions make, and away from what others try (liar).
            return samplers.TPESampler(
                n_startup_trials=startup_trials, multivariate=True, group=True, constant_liar=True, seed=own_seed
            )
        if name == "gp":
            return samplers.GPSampler(n_startup_trials=startup_trials, seed=own_seed, warn_independent_sampling=False)
        if name == "cmaes":
            return samplers.CmaEsSampler(
                n_startup_trials=max(1, startup_trials), seed=own_seed, warn_independent_sampling=False
            )
        if name == "qmc":  # one sequence for all workers: its place is kept in the study
            return samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
        return samplers.RandomSampler(seed=own_seed)
