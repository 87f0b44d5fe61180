"""The sweeper's knobs: as Hydra composes them, and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lenet.config.schema import StoreUri
from lenet.config.validation import Bounds, Name
from lenet.search.samplers import Sampler

GROUP, NAME = "hydra/sweeper", "optuna"
WHERE = "hydra.sweeper"


@dataclass
class SweeperConf:
    """The node `hydra/sweeper=optuna`; its types are those that OmegaConf knows."""

    _target_: str = "hydra_plugins.lenet_sweeper.sweeper.OptunaSweeper"
    n_trials: int = 20
    sampler: str = "tpe"
    startup_trials: int = 10
    seed: int = 1
    storage: str | None = None
    study_name: str | None = None


@dataclass(frozen=True)
class Knobs:
    """What a sweep is asked to be, beside its overrides."""

    n_trials: Annotated[int, Bounds(low=1, high=1_000_000)]
    """Trials in all, however often the sweep was interrupted."""
    sampler: Sampler
    """Who proposes: TPE, a Gaussian process, chance, a Sobol sequence, CMA-ES."""
    startup_trials: Annotated[int, Bounds(low=0, high=100_000)]
    """Trials drawn at random before TPE, GP or CMA-ES look at what came out."""
    seed: Annotated[int, Bounds(low=0, high=2**31 - 1)]
    """Of the proposals; that of the trainings is the config's own."""
    storage: StoreUri | None
    """SQLAlchemy URL of the study (sqlite:///… or postgresql+psycopg://…); null: LENET_STUDY_STORAGE, or
    else SQLite in the project's home."""
    study_name: Name | None
    """The study's name; null: from a digest of all that changes what a trial means."""
