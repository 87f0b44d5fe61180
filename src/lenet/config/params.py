"""The pipeline's knobs (params.yaml) and the composed config of each of its variants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml

from lenet.config.compose import compose
from lenet.config.schema import Config, parse_config
from lenet.config.validation import Bounds, Name, parse
from lenet.core.atomic_io import remove, write_text
from lenet.core.errors import ConfigError
from lenet.core.paths import BUILT_CONF, PARAMS, REFITTED, SEARCHED
from lenet.core.project import Project
from lenet.core.yaml_loader import read_yaml

MIN_CONFIRMING_SEEDS = 2


@dataclass(frozen=True)
class EvaluateParams:
    """How the test set is read."""

    confidence: Annotated[float, Bounds(above=0, high=0.9999)]


@dataclass(frozen=True)
class Thresholds:
    """What the gate requires of a challenger; fixed before any prediction is seen."""

    margin_points: Annotated[float, Bounds(above=0, high=99)]
    """What a challenger may be worse by and still count as no worse, in percentage points of error."""
    confidence: Annotated[float, Bounds(low=0.6, high=0.9999)]
    """Of the one-sided limits: with 0.95, a challenger worse by the whole margin is let through once in twenty."""
    floor_error_percent: Annotated[float, Bounds(above=0, high=100)]
    """The error in percent that the challenger's upper limit has to stay below, whatever the champion's is."""
    alpha: Annotated[float, Bounds(low=0.0001, high=0.5)]
    """Level of McNemar's two-sided test for quality, and of the one-sided tests of all classes together."""


@dataclass(frozen=True)
class Gate(Thresholds):
    """The thresholds, and what a challenger is compared with beside the champion."""

    reference: str | None
    """A network that never changes and is never left behind, as `lenet5/1` or the start of a fingerprint; or null."""


@dataclass(frozen=True)
class RegisterParams:
    """Where the best model goes."""

    model: Name


@dataclass(frozen=True)
class SearchParams:
    """The search of the pipeline."""

    name: Name
    """conf/search/<name>.yaml."""
    trials: Annotated[int, Bounds(low=1)]
    """Trials in all."""
    workers: Annotated[int, Bounds(low=0, high=1024)]
    """Processes; 0 is one a GPU, or one a core."""


@dataclass(frozen=True)
class RefitParams:
    """How the search's best are trained again."""

    candidates: Annotated[int, Bounds(low=1, high=20)]
    """The best so many configurations of the search."""
    seeds: tuple[Annotated[int, Bounds(low=0, high=2**32 - 1)], ...]
    """Each is trained with all of these, and chosen by the mean."""
    confirm: tuple[Annotated[int, Bounds(low=0, high=2**32 - 1)], ...]
    """Others, with which the chosen one and the baseline are compared."""
    baseline: Name
    """The variant that it is compared with."""


@dataclass(frozen=True)
class Params:
    """The pipeline's own knobs, with the meaning that params.yaml gives them."""

    data: Name
    variants: tuple[Name, ...]
    seeds: tuple[Annotated[int, Bounds(low=0, high=2**32 - 1)], ...]
    overrides: tuple[str, ...]
    search: SearchParams
    refit: RefitParams
    evaluate: EvaluateParams
    gate: Gate
    register: RegisterParams

    @property
    def evaluated_variants(self) -> tuple[str, ...]:
        """What is evaluated: the variants and what the refit chose of the search's best."""
        return (*self.variants, REFITTED)


def read_params(project: Project) -> Params:
    """Read params.yaml.

    Raises:
        ConfigError: it says something that is not allowed.
    """
    path = project.root / PARAMS
    tree = read_yaml(path)
    try:
        params: Params = parse(Params, tree, "")
        named: tuple[tuple[str, tuple[str | int, ...]], ...] = (
            ("variants", params.variants),
            ("seeds", params.seeds),
            ("refit.seeds", params.refit.seeds),
            ("refit.confirm", params.refit.confirm),
        )
        for name, values in named:
            if not values:
                raise ConfigError(f"{name}=[]: must name at least one")
            if len(set(values)) < len(values):
                raise ConfigError(f"{name}={list(values)}: must not name one twice")
        for name in (SEARCHED, REFITTED):
            if name in params.variants:
                raise ConfigError(f"variants names {name}: the pipeline makes it, it is no variant to list")
        confirm = params.refit.confirm
        if len(confirm) < MIN_CONFIRMING_SEEDS:
            raise ConfigError(f"refit.confirm={list(confirm)}: a comparison needs at least {MIN_CONFIRMING_SEEDS}")
        if both := set(confirm) & set(params.refit.seeds):
            raise ConfigError(
                f"refit.confirm={list(confirm)}: {min(both)} is in refit.seeds too; seeds that chose a recipe confirm"
                " nothing of it"
            )
    except ConfigError as error:
        raise ConfigError(f"{PARAMS}: {error}") from error
    return params


def compose_variants(project: Project, params: Params) -> dict[str, Config]:
    """Compose each variant of params.yaml; nothing is written.

    Raises:
        ConfigError: a variant, an override or a file in conf/ is not right.
    """
    known = sorted({path.stem for path in (project.conf / "experiment").glob("*.yaml")} - {SEARCHED, REFITTED})
    configs = {}
    for variant in params.variants:
        if variant not in known:
            raise ConfigError(f"{PARAMS}: variants names {variant}: must be one of {', '.join(known)}")
        configs[variant] = compose(project, [f"experiment={variant}", f"data={params.data}", *params.overrides])
    if params.refit.baseline not in configs:
        raise ConfigError(
            f"{PARAMS}: refit.baseline={params.refit.baseline}: must be one of variants, {', '.join(params.variants)}"
        )
    return configs


def write_variants(project: Project, configs: dict[str, Config]) -> list[Path]:
    """Write build/conf/<variant>.yaml for each variant and delete those of variants that are no more."""
    written = []
    for variant, config in configs.items():
        tree = config.tree()
        del tree["seed"]  # params.yaml has the seeds
        path = project.root / BUILT_CONF / f"{variant}.yaml"
        body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
        write_text(path, f"# written by `lenet compose` from conf/ and params.yaml\n{body}")
        written.append(path)
    for path in (project.root / BUILT_CONF).glob("*.yaml"):
        if path not in written:
            remove(path, project.root)
    return written


def read_variant(project: Project, variant: str, seed: int) -> Config:
    """Read what `write_variants` wrote, for one seed.

    Raises:
        ConfigError: the file is missing or does not hold a config.
    """
    path = project.root / BUILT_CONF / f"{variant}.yaml"
    try:
        tree: Any = read_yaml(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: is missing; `lenet compose` writes it") from error
    except ConfigError as error:
        raise ConfigError(f"{error}; `lenet compose` writes it anew") from error
    return parse_config({**tree, "seed": seed} if isinstance(tree, dict) else tree)
