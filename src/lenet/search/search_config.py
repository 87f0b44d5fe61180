"""The settings of a search: objectives, sampler, pruner, budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from lenet.config.schema import StoreUri
from lenet.config.validation import Bounds, Name
from lenet.core.errors import ConfigError

VALIDATION_ERROR = "val/error"
"""The first objective of every search, in percent."""

Objective = Literal["val/error", "parameters", "latency_ms"]
Sampler = Literal["tpe", "gp", "random", "qmc", "cmaes"]
Pruner = Literal["asha", "hyperband", "median", "none"]
Positive = Annotated[int, Bounds(low=1)]
StartupTrials = Annotated[int, Bounds(low=0, high=100_000)]
Trials = Annotated[int, Bounds(low=1, high=1_000_000)]
Workers = Annotated[int, Bounds(low=0, high=1024)]
ParallelTrials = Annotated[int, Bounds(low=1, high=1024)]
SamplerSeed = Annotated[int, Bounds(low=0, high=2**31 - 1)]


@dataclass(frozen=True)
class Limits:
    """Constraints on a trial; null is no limit."""

    parameters: Positive | None = None
    """Trainable parameters of the network; known before training, so a network too large is never trained."""
    latency_ms: Annotated[float, Bounds(above=0)] | None = None
    """Median time to classify one image on one CPU thread, in milliseconds."""


@dataclass(frozen=True)
class SearchConfig:
    """A search, without its space."""

    name: Name
    """The file's name in conf/search."""
    base: tuple[str, ...]
    """Overrides that every trial has, as one types them to train.py."""
    objectives: tuple[Objective, ...]
    """Minimized: val/error alone, or with parameters or latency_ms beside it."""
    limits: Limits
    """Constraints on every trial."""
    sampler: Sampler
    """TPE, a Gaussian process, random, a Sobol sequence, CMA-ES."""
    startup_trials: StartupTrials
    """Random trials before TPE, GP or CMA-ES use the results."""
    pruner: Pruner
    """ASHA, Hyperband, median, or none."""
    reduction_factor: Annotated[int, Bounds(low=2, high=64)]
    """ASHA and Hyperband: one of so many trials is continued at each rung."""
    first_epoch: Positive
    """Epoch after which a trial may first be pruned; from `epochs` on none is."""
    epochs: Annotated[int, Bounds(low=1, high=100_000)]
    """Epochs of a trial that is not pruned."""
    trials: Trials | None
    """Trials in all, however often the search was interrupted; null: limited by `minutes` alone."""
    minutes: Annotated[float, Bounds(above=0)] | None
    """Minutes of search in all; trials that run at the end are finished. null: limited by `trials` alone."""
    workers: Workers
    """Processes, of one thread each on CPUs; 0: one per GPU, or one per core."""
    parallel_trials: ParallelTrials
    """Trials that may run at once. A trial is proposed from, and pruned against, those of before them alone, so that
    trials are the same for any number of workers; more workers than this wait."""
    seed: SamplerSeed
    """Seed of every trial's training."""
    storage: StoreUri | None
    """SQLAlchemy URL of the study (sqlite:///… or postgresql+psycopg://…); null: LENET_STUDY_STORAGE, or
    else SQLite in the project's home."""
    sampler_seed: SamplerSeed | None = None
    """Seed of the proposals, combined with the trial's number; null: `seed`."""

    def __post_init__(self) -> None:
        """Check that the settings agree with each other.

        Raises:
            ConfigError: they do not.
        """
        if self.trials is None and self.minutes is None:
            raise ConfigError("search.trials=null, search.minutes=null: one of them must be a limit")
        objectives = f"search.objectives={list(self.objectives)}"
        if not self.objectives or self.objectives[0] != VALIDATION_ERROR:
            raise ConfigError(f"{objectives}: the first must be val/error")
        if len(self.objectives) > 2 or len(set(self.objectives)) < len(self.objectives):
            raise ConfigError(f"{objectives}: must be val/error, and at most one other")
        if len(self.objectives) > 1 and self.pruner != "none":
            raise ConfigError(f"search.pruner={self.pruner}: a search of two objectives has no pruner; use none")
        if len(self.objectives) > 1 and self.sampler == "cmaes":
            raise ConfigError("search.sampler=cmaes: optimizes one objective; use tpe, gp, random or qmc")
