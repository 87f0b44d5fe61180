"""What a search is told beside its space: who proposes, who ends a trial early, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from lenet.config.schema import StoreUri
from lenet.config.validation import Bounds, Name
from lenet.core.errors import ConfigError
from lenet.search.samplers import Sampler

Objective = Literal["val/error", "parameters", "latency_ms"]
Positive = Annotated[int, Bounds(low=1)]


@dataclass(frozen=True)
class Limits:
    """What a trial must not exceed; null is no limit."""

    parameters: Positive | None = None
    """Trainable numbers of the network; known before training, so that a network too large is never trained."""
    latency_ms: Annotated[float, Bounds(above=0)] | None = None
    """Median time to read one digit on one CPU thread, in milliseconds."""


@dataclass(frozen=True)
class SearchConfig:
    """A search, without its space."""

    name: Name
    """The file's name in conf/search."""
    base: tuple[str, ...]
    """Overrides that every trial has, as one types them to train.py."""
    objectives: tuple[Objective, ...]
    """What is made small: val/error alone, or with parameters or latency_ms beside it."""
    limits: Limits
    """What no trial may exceed."""
    sampler: Sampler
    """Who proposes: TPE, a Gaussian process, chance, a Sobol sequence, CMA-ES."""
    startup_trials: Annotated[int, Bounds(low=0, high=100_000)]
    """Trials drawn at random before TPE, GP or CMA-ES look at what came out."""
    pruner: Literal["asha", "hyperband", "median", "none"]
    """Who ends a trial early."""
    reduction_factor: Annotated[int, Bounds(low=2, high=64)]
    """ASHA and Hyperband: one of so many trials goes on at each rung."""
    first_epoch: Positive
    """Epoch after which a trial may first be ended; from `epochs` on none is."""
    epochs: Annotated[int, Bounds(low=1, high=100_000)]
    """Epochs of a trial that is not ended early."""
    trials: Positive | None
    """Trials in all, however often the search was interrupted; null: no limit but the time."""
    minutes: Annotated[float, Bounds(above=0)] | None
    """Minutes in all in which the search was at work; trials that run at the end are finished."""
    workers: Annotated[int, Bounds(low=0, high=1024)]
    """Processes, of one thread each on CPUs; 0: one a GPU, or one a core."""
    seed: Annotated[int, Bounds(low=0, high=2**31 - 1)]
    """Of every trial's training, and, with the worker's number, of the proposals."""
    storage: StoreUri | None
    """SQLAlchemy URL of the study (sqlite:///… or postgresql+psycopg://…); null: LENET_STUDY_STORAGE, or
    else SQLite in the project's home."""


def check_search(search: SearchConfig) -> None:
    """See that the knobs go together.

    Raises:
        ConfigError: they do not.
    """
    if search.trials is None and search.minutes is None:
        raise ConfigError("search.trials=null, search.minutes=null: give one of them a limit")
    if not search.objectives or search.objectives[0] != "val/error":
        raise ConfigError(f"search.objectives={list(search.objectives)}: the first must be val/error")
    if len(search.objectives) > 2 or len(set(search.objectives)) < len(search.objectives):
        raise ConfigError(f"search.objectives={list(search.objectives)}: must be val/error, and at most one other")
    if len(search.objectives) > 1 and search.pruner != "none":
        raise ConfigError(f"search.pruner={search.pruner}: with two objectives no trial is ended early; use none")
    if len(search.objectives) > 1 and search.sampler == "cmaes":
        raise ConfigError("search.sampler=cmaes: knows one objective; use tpe, gp, random or qmc")
