"""The specification of a search: space, settings and the composed configs of its trials, with an identity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lenet.config.compose import compose, compose_tree
from lenet.config.schema import Config, parse_config
from lenet.config.validation import parse
from lenet.core.atomic_io import canonical_json, sha256_bytes
from lenet.core.errors import ConfigError
from lenet.core.project import Project
from lenet.kernels.choice import resolve_kernel
from lenet.runs.fingerprint import code_digest
from lenet.search.search_config import SearchConfig
from lenet.search.search_space import Assignment, Space, read_space
from lenet.search.searchable_fields import WHERE, Scalar, group_of

GROUP = "search"
DEFAULT = "recipe"
OWN = {"seed": "search.seed", "trainer.epochs": "search.epochs"}
"""Fields of the config that a search has a setting of its own for."""

NO_IDENTITY = ("name", "base", "trials", "minutes", "workers", "storage")
"""Settings that do not change what a trial is; `base` counts as composed."""

MAX_COMBINATIONS = 256
"""Combinations of group choices that are composed before the first trial; a larger space is refused."""

DIGITS = 12
"""Of the digest in a study's name."""

GroupChoices = tuple[tuple[str, Scalar], ...]
"""Names and values of the parameters that choose among a group's files."""


@dataclass(frozen=True)
class SearchSpec:
    """A search, composed and checked; nothing in it is read from conf/ again.

    Attributes:
        project: the project.
        search: its settings.
        space: its parameters.
        overrides: overrides that every trial has.
        base: the composed config without any parameter set.
        bases: the same for each combination of the config groups' files that a trial can choose.
    """

    project: Project
    search: SearchConfig
    space: Space
    overrides: tuple[str, ...]
    base: Config
    bases: Mapping[GroupChoices, Config]

    def config_for(self, assignment: Assignment) -> Config:
        """Return the config of a trial's run.

        Raises:
            ConfigError: the values do not go together.
        """
        groups = _group_choices(self.project.conf, assignment)
        tree = self.bases[groups].tree()
        for name, value in assignment.items():
            if (name, value) not in groups:
                *parents, last = name.split(".")
                inner = tree
                for parent in parents:
                    inner = inner[parent]
                inner[last] = value
        return parse_config(tree)

    def train_overrides(self, assignment: Assignment) -> tuple[str, ...]:
        """Return the overrides with which train.py trains a trial's run."""
        words = list(self.overrides)
        for name, value in assignment.items():
            words.append(f"{group_of(self.project.conf, name) or name}={override_value(value)}")
        return (*words, f"trainer.epochs={self.base.trainer.epochs}", f"seed={self.base.seed}")

    def study_name(self, data_digest: str) -> str:
        """Return the study's name, with a digest of all that changes what a trial is; the budget does not."""
        body = self.identity() | {"data": data_digest, "code": code_digest(self.base.model.name)}
        return f"{self.search.name}-{sha256_bytes(canonical_json(body).encode())[:DIGITS]}"

    def identity(self) -> dict[str, Any]:
        """Return what changes a trial: space, settings and composed configs, as plain values."""
        search = {name: value for name, value in asdict(self.search).items() if name not in NO_IDENTITY}
        groups = [[dict(choices), config.identity()] for choices, config in self.bases.items()]
        return {"space": self.space.tree(), "base": self.base.identity(), "groups": groups, "search": search}


def read_spec(project: Project, words: Sequence[str]) -> SearchSpec:
    """Read a search from conf/search/<name>.yaml and overrides; nothing is written.

    Args:
        project: the project.
        words: `search=<name>`, `search.<key>=<value>`, and overrides that hold for every trial.

    Raises:
        ConfigError: something is not allowed; the message says what is.
    """
    own = [word for word in words if word.lstrip("+~").startswith((f"{GROUP}=", f"{GROUP}."))]
    typed = [word for word in words if word not in own]
    chosen = [word for word in own if word.startswith(f"{GROUP}=")] or [f"{GROUP}={DEFAULT}"]
    rest = [word for word in own if not word.startswith(f"{GROUP}=")]
    tree = compose_tree(project, [f"+{chosen[-1]}", *rest])[GROUP]
    space_tree = tree.pop("space", None)
    search: SearchConfig = parse(SearchConfig, tree, GROUP)
    space = read_space(space_tree)
    for word in typed:
        if own_key := OWN.get(word.lstrip("+").partition("=")[0]):
            raise ConfigError(f"{word}: a search has a setting for it; use {own_key}=…")
        for name in [one.name for one in space.parameters if _sets(project.conf, word, one.name)]:
            file = f"conf/{GROUP}/{chosen[-1].partition('=')[2]}.yaml"
            raise ConfigError(f"{word}: is searched by {file}; take it out of the space with ~{WHERE}.{name}")
    return make_spec(project, search, space, [*search.base, *typed], partial(compose, project))


def make_spec(
    project: Project,
    search: SearchConfig,
    space: Space,
    overrides: Sequence[str],
    compose_config: Callable[[Sequence[str]], Config],
) -> SearchSpec:
    """Compose the configs of a search and check every combination of groups with both ends of all other parameters.

    Args:
        project: the project.
        search: the settings.
        space: the parameters.
        overrides: overrides that every trial has.
        compose_config: composes conf/ with overrides.

    Raises:
        ConfigError: something is not allowed.
    """

    def composed(*choices: str) -> Config:
        return _with_budget(compose_config([*overrides, *choices]), search)

    bases = {}
    for groups in _combinations(project.conf, space):
        words = (f"{group_of(project.conf, name)}={value}" for name, value in groups)
        bases[groups] = composed(*words)
    spec = SearchSpec(project, search, space, tuple(overrides), composed(), bases)
    for groups, end in itertools.product(bases, (0, -1)):
        assignment: Assignment = {}
        for parameter in space.parameters:
            if parameter.is_active(assignment):
                assignment[parameter.name] = dict(groups).get(parameter.name, parameter.ends[end])
        try:
            spec.config_for(assignment)
        except ConfigError as error:
            shown = ", ".join(f"{name}={value}" for name, value in groups)
            hint = f" (with {shown}; `when` can restrict a field to some choices)" if shown else ""
            raise ConfigError(f"{error}{hint}") from error
    return spec


def _combinations(conf: Path, space: Space) -> Iterator[GroupChoices]:
    """Return every combination of group choices that a trial can have; without groups, the empty one."""
    groups = [one for one in space.parameters if group_of(conf, one.name)]
    names = {one.name for one in groups}
    for one in groups:
        for name, _ in one.when:
            if name not in names:
                raise ConfigError(f"{WHERE}.{one.name}.when.{name}: a group's choice can depend on other groups alone")
    if (number := math.prod(len(one.ends) for one in groups)) > MAX_COMBINATIONS:
        raise ConfigError(f"{', '.join(sorted(names))}: have {number} combinations; at most {MAX_COMBINATIONS}")
    found: dict[GroupChoices, None] = {}
    for values in itertools.product(*(one.ends for one in groups)):
        chosen: Assignment = {}
        for one, value in zip(groups, values, strict=True):
            if one.is_active(chosen):
                chosen[one.name] = value
        found[tuple(chosen.items())] = None
    yield from found


def _group_choices(conf: Path, assignment: Assignment) -> GroupChoices:
    return tuple((name, value) for name, value in assignment.items() if group_of(conf, name))


def _sets(conf: Path, word: str, field: str) -> bool:
    """Say whether an override sets a field of the config: by its name, by its group's choice, or in a `{…}`."""
    key, _, value = word.lstrip("+").partition("=")
    name = key.replace("/", ".")
    if value.startswith("{"):
        return field.startswith(f"{name}.")
    return field == (f"{name}.name" if (conf / key).is_dir() else name)


def _with_budget(config: Config, search: SearchConfig) -> Config:
    if config.data.validation_size == 0:
        raise ConfigError("data.validation_size=0: a search minimizes the validation error")
    if config.trainer.devices > 1:
        raise ConfigError(f"trainer.devices={config.trainer.devices}: a trial uses one; use search.workers")
    # The pruner sees every epoch, so each has its checkpoint.
    trainer = replace(config.trainer, epochs=search.epochs, threads=1, progress=False, checkpoint_seconds=0.0)
    return resolve_kernel(replace(config, name=search.name, trainer=trainer, seed=search.seed))


def override_value(value: Scalar) -> str:
    """Return a value as one types it in an override."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
