"""Translation of a sweep into a search: settings of hydra.sweeper, swept overrides, fixed overrides.

In a module of its own, for Hydra loads those without an underscore in a way that dataclasses do not support.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from lenet.config.schema import StoreUri
from lenet.config.validation import Name, closest
from lenet.core.errors import ConfigError
from lenet.search.search_config import (
    Limits,
    ParallelTrials,
    Pruner,
    Sampler,
    SamplerSeed,
    SearchConfig,
    StartupTrials,
    Trials,
    Workers,
)

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
    from omegaconf import DictConfig

    from lenet.search.spec import SearchSpec

WHERE = "hydra.sweeper"
DEFAULT_LAUNCHER = ".PoolLauncher"
"""End of hydra.launcher._target_ where no other launcher was chosen."""

LOG, INT = "log", "int"


@dataclass(frozen=True)
class SweeperConfig:
    """The keys of hydra.sweeper."""

    n_trials: Trials = 20
    """Trials in all, however often the sweep was interrupted."""
    n_jobs: Workers = 0
    """Worker processes; 0: one per GPU, or one per core."""
    parallel_trials: ParallelTrials = 8
    """Trials that may run at once; each is proposed from those before them alone."""
    direction: Literal["minimize"] = "minimize"
    """The validation error is minimized."""
    sampler: Sampler = "tpe"
    """TPE, a Gaussian process, random, a Sobol sequence, CMA-ES."""
    startup_trials: StartupTrials = 10
    """Random trials before TPE, GP or CMA-ES use the results."""
    pruner: Pruner = "none"
    """ASHA, Hyperband, median, or none."""
    seed: SamplerSeed = 1
    """Seed of the proposals; `seed` without a prefix is that of the trainings."""
    study_name: Name = "sweep"
    """Start of the study's name; a digest of all that changes a trial follows."""
    storage: StoreUri | None = None
    """SQLAlchemy URL of the study; null: LENET_STUDY_STORAGE, or else SQLite in the project's home."""
    join: bool = False
    """Help a sweep that another terminal leads."""


def read_sweep(
    settings: SweeperConfig, words: Sequence[str], config: DictConfig, loader: ConfigLoader | None
) -> SearchSpec:
    """Return the search that a sweep's overrides describe; of two overrides of one key the last one counts.

    Args:
        settings: those of hydra.sweeper.
        words: the overrides, swept and fixed.
        config: the sweep's config, Hydra's own part included.
        loader: knows the files of a group, for `glob(…)`.

    Raises:
        ConfigError: something is not allowed; the message says what is.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from lenet.config.hydra_errors import translate_hydra_errors
    from lenet.hydra_app.main import compose_job, project_of
    from lenet.search.search_space import read_space
    from lenet.search.spec import OWN, make_spec
    from lenet.search.storage import study_url

    project = project_of(config)
    if not str(config.hydra.launcher._target_).endswith(DEFAULT_LAUNCHER):
        raise ConfigError("hydra/launcher: hydra/sweeper=optuna starts its own workers (hydra.sweeper.n_jobs)")
    study_url(project, settings.storage, f"{WHERE}.storage")
    with translate_hydra_errors(project.conf):
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(words))
        by_key = {override.get_key_element().lstrip("+~"): override for override in parsed}
        fixed = [str(one.input_line) for one in by_key.values() if not one.is_sweep_override()]
        swept = [one for one in by_key.values() if one.is_sweep_override()]
        if not swept:
            raise ConfigError(
                "hydra/sweeper=optuna: nothing is swept; give an override several values, such as"
                " model.activation=tanh,relu or 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))'"
            )
        tree: dict[str, Any] = {}
        for override in sorted(swept, key=lambda one: one.key_or_group):  # the order of typing is no part of the study
            name = override.key_or_group.replace("/", ".")
            if (project.conf / override.key_or_group).is_dir():
                name += ".name"
            *groups, last = name.split(".")
            inner = tree
            for group in groups:
                inner = inner.setdefault(group, {})
            inner[last] = read_parameter(override)
    space, base = read_space(tree, where="swept"), compose_job(config, fixed)
    search = SearchConfig(
        name=settings.study_name,
        base=(),
        objectives=("val/error",),
        limits=Limits(),
        sampler=settings.sampler,
        startup_trials=settings.startup_trials,
        pruner=settings.pruner,
        reduction_factor=3,
        first_epoch=1,
        epochs=base.trainer.epochs,
        trials=settings.n_trials,
        minutes=None,
        workers=settings.n_jobs,
        parallel_trials=settings.parallel_trials,
        seed=base.seed,
        storage=settings.storage,
        sampler_seed=settings.seed,
    )
    overrides = [word for word in fixed if word.lstrip("+").partition("=")[0] not in OWN]  # the search has them
    return make_spec(project, search, space, overrides, partial(compose_job, config))


def read_parameter(override: Override) -> dict[str, Any]:
    """Return a swept override as a leaf of a search space, `{choices}` or `{low, high, log, step}`.

    Raises:
        ConfigError: it has no value, or a tag that is not known.
    """
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, QuotedString, RangeSweep

    value, where = override.value(), str(override.input_line)
    if override.package is not None or not override.type.name == "CHANGE":
        raise ConfigError(f"{where}: a swept key is written without +, ~ and @")
    if isinstance(value, IntervalSweep | RangeSweep):
        for tag in sorted(value.tags - {LOG, INT}):
            raise ConfigError(f"{where}: tag {tag}: must be one of log, int{closest(tag, [LOG, INT])}")
        return _range(value, where)
    choices = value.list if isinstance(value, ChoiceSweep) else list(override.sweep_string_iterator())
    return {"choices": [one.text if isinstance(one, QuotedString) else one for one in choices]}


def _range(value: IntervalSweep | RangeSweep, where: str) -> dict[str, Any]:
    """Return the bounds of an interval or a range; as anywhere in Hydra a range ends before its stop."""
    from hydra.core.override_parser.types import RangeSweep

    leaf: dict[str, Any] = {"log": True} if LOG in value.tags else {}
    if isinstance(value, RangeSweep):
        start, stop, step = float(value.start or 0), float(value.stop or 0), float(value.step)
        count = math.ceil(round((stop - start) / step, 9)) if step else 0
        if count < 1:
            raise ConfigError(f"{where}: has no value")
        if count == 1:
            return {"choices": [_whole(start)]}
        low, high = sorted((start, round(start + (count - 1) * step, 12)))
        leaf |= {} if LOG in value.tags and abs(step) == 1 else {"step": _whole(abs(step))}
    else:
        low, high = float(value.start or 0), float(value.end or 0)
    return leaf | {"low": _whole(low), "high": _whole(high)}


def _whole(value: float) -> int | float:
    return int(value) if value.is_integer() else value  # fields of fractions take whole numbers too
