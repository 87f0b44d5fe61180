"""What a search is asked to be: its space, its budget and what every trial has in common."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from lenet.composition import anchored, compose, compose_tree, one_line_errors
from lenet.config import Config, parse_config
from lenet.durable import canonical_json, sha256_bytes
from lenet.errors import ConfigError
from lenet.fingerprint import code_digest
from lenet.project import Project
from lenet.schema import Range, flatten, parse
from lenet.search.samplers import Sampler
from lenet.search.space import WHERE, Assignment, Parameter, Scalar, Space, read_space

GROUP = "search"
DEFAULT = "recipe"
OWN = ("seed", "trainer.epochs")
"""Fields that a search has a knob of its own for."""

DIGITS = 12
"""Of the digest in a study's name."""

MOST_COMBINATIONS = 256
"""Combinations of group choices that are checked before the first trial; a larger space is refused."""

Objective = Literal["val/error", "parameters", "latency_ms"]
Positive = Annotated[int, Range(low=1)]


@dataclass(frozen=True)
class Limits:
    """What a trial must not exceed; null is no limit."""

    parameters: Positive | None = None
    """Trainable numbers of the network; known before training, so that a network too large is never trained."""
    latency_ms: Annotated[float, Range(above=0)] | None = None
    """Median time to read one digit on one CPU thread, in milliseconds."""


@dataclass(frozen=True)
class SearchConfig:
    """A search, without its space."""

    name: str
    """The file's name in conf/search."""
    base: tuple[str, ...]
    """Overrides that every trial has, as one types them to train.py."""
    objectives: tuple[Objective, ...]
    """What is made small: val/error alone, or with parameters or latency_ms beside it."""
    limits: Limits
    """What no trial may exceed."""
    sampler: Sampler
    """Who proposes: TPE, a Gaussian process, chance, a Sobol sequence, CMA-ES."""
    startup_trials: Annotated[int, Range(low=0, high=100_000)]
    """Trials drawn at random before TPE, GP or CMA-ES look at what came out."""
    pruner: Literal["asha", "hyperband", "median", "none"]
    """Who ends a trial early."""
    reduction_factor: Annotated[int, Range(low=2, high=64)]
    """ASHA and Hyperband: one of so many trials goes on at each rung."""
    first_epoch: Positive
    """Epoch after which a trial may first be ended; from `epochs` on none is."""
    epochs: Annotated[int, Range(low=1, high=100_000)]
    """Epochs of a trial that is not ended early."""
    trials: Positive | None
    """Trials in all, however often the search was interrupted; null: no limit but the time."""
    minutes: Annotated[float, Range(above=0)] | None
    """Minutes in all in which the search was at work; trials that run at the end are finished."""
    workers: Annotated[int, Range(low=0, high=1024)]
    """Processes, of one thread each on CPUs; 0: one a GPU, or one a core."""
    seed: Annotated[int, Range(low=0, high=2**31 - 1)]
    """Of every trial's training, and, with the worker's number, of the proposals."""
    storage: str | None
    """SQLAlchemy URL of the study (sqlite:///… or postgresql+psycopg://…); null: SQLite in the project's home."""


@dataclass(frozen=True)
class Question:
    """A search that can be asked: checked, with an identity.

    Attributes:
        project: where things are.
        search: the search.
        space: what it looks through.
        typed: overrides that the user gave beside `search.…`; they hold for every trial.
        base: what every trial has in common.
    """

    project: Project
    search: SearchConfig
    space: Space
    typed: tuple[str, ...]
    base: Config

    def configure(self, assignment: Assignment) -> Config:
        """Return the run that a trial's values describe.

        Raises:
            ConfigError: the values do not go together.
        """
        tree = _compose_base(self, _named_groups(self, assignment))
        for name, value in assignment.items():
            if _group_of(self.project.conf, name) is None:
                _set(tree, name, value)
        return parse_config(tree)

    def overrides(self, assignment: Assignment) -> tuple[str, ...]:
        """Return what one types to train.py to train a trial's run."""
        words = [*self.search.base, *self.typed]
        for name, value in assignment.items():
            group = _group_of(self.project.conf, name)
            words.append(f"{group or name}={_typed(value)}")
        words += [f"trainer.epochs={self.search.epochs}", f"seed={self.search.seed}"]
        return tuple(words)

    def study_name(self, data_digest: str) -> str:
        """Return the study's name: whatever changes what a trial means is in it, the budget is not."""
        body: dict[str, Any] = {
            "space": self.space.tree(),
            "base": self.base.identity(),
            "data": data_digest,
            "code": code_digest(),
        }
        groups = _group_choices(self)
        if any(groups):  # the files of conf/ that its choices stand for; without any the base says it all
            body["groups"] = [[picked, _identity(self, picked)] for picked in groups]
        meaning = asdict(self.search)
        for name in ("name", "base", "trials", "minutes", "workers", "storage"):
            del meaning[name]
        digest = sha256_bytes(canonical_json(body | {"search": meaning}).encode())
        return f"{self.search.name}-{digest[:DIGITS]}"


def read_question(project: Project, words: Sequence[str]) -> Question:
    """Read a search from conf/search/<name>.yaml and what was typed; nothing is written.

    Args:
        project: where conf/ is.
        words: `search=<name>`, `search.<key>=<value>`, and overrides that hold for every trial.

    Raises:
        ConfigError: something is not allowed; the message says what is.
    """
    own = [word for word in words if word.lstrip("+~").startswith((f"{GROUP}=", f"{GROUP}."))]
    typed = tuple(word for word in words if word not in own)
    chosen = [word for word in own if word.startswith(f"{GROUP}=")] or [f"{GROUP}={DEFAULT}"]
    rest = [word for word in own if not word.startswith(f"{GROUP}=")]
    tree = compose_tree(project, [f"+{chosen[-1]}", *rest])[GROUP]
    space_tree = tree.pop("space", None)
    search: SearchConfig = parse(SearchConfig, tree, GROUP)
    _check_search(search)
    space = read_space(space_tree)
    for word in typed:
        key = word.lstrip("+").partition("=")[0]
        if key in OWN:
            raise ConfigError(f"{word}: a search has its own; use search.{key.removeprefix('trainer.')}=…")
        _check_not_searched(project, word, space, chosen[-1].partition("=")[2])
    question = Question(project, search, space, typed, compose(project, [*search.base, *typed]))
    question = replace(question, base=_with_budget(question.base, search))
    _check_combinations(question)
    return question


def _check_not_searched(project: Project, word: str, space: Space, option: str) -> None:
    """Refuse an override of a field that the search sets in every trial: it would say nothing."""
    set_here = _set_by(project.conf, word)
    for parameter in space.parameters:
        if parameter.name in set_here:
            raise ConfigError(
                f"{word}: is searched by conf/{GROUP}/{option}.yaml;"
                f" take it out of the space with ~{WHERE}.{parameter.name}"
            )


def _set_by(conf: Path, word: str) -> set[str]:
    """Return the fields that an override sets by name; a group's choice sets `<group>.name` alone."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    with one_line_errors(conf):
        override = OverridesParser.create().parse_override(anchored(word))
    key, value = override.key_or_group, override.value()
    if override.is_delete() or override.package is not None:
        return set()
    if isinstance(value, dict):
        return {f"{key}.{name}" for name, _ in flatten(value)}
    return {f"{key.replace('/', '.')}.name"} if (conf / key).is_dir() else {key}


def _check_search(search: SearchConfig) -> None:
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


def _with_budget(config: Config, search: SearchConfig) -> Config:
    # A trial is watched an epoch at a time, whatever a lone run's checkpoints are spaced at.
    trainer = replace(config.trainer, epochs=search.epochs, threads=1, progress=False, checkpoint_seconds=0.0)
    if config.data.validation_size == 0:
        raise ConfigError("data.validation_size=0: a search chooses by the validation error")
    if config.trainer.devices > 1:
        raise ConfigError(f"trainer.devices={config.trainer.devices}: a trial has one; use search.workers")
    return replace(config, name=search.name, trainer=trainer, seed=search.seed)


def _check_combinations(question: Question) -> None:
    """Compose every combination of group choices with both ends of all other parameters."""
    for picked in _group_choices(question):
        for end in (0, -1):
            chosen: Assignment = {}
            for one in question.space.parameters:
                if one.is_active(chosen):
                    chosen[one.name] = picked.get(one.name, one.ends[end])
            try:
                question.configure(chosen)
            except ConfigError as error:
                told = ", ".join(f"{name}={value}" for name, value in chosen.items() if name in picked)
                with_these = f" (with {told}; `when` can bring a field in for some choices alone)" if told else ""
                raise ConfigError(f"{WHERE}: {error}{with_these}") from error


def _group_choices(question: Question) -> list[Assignment]:
    """Return every combination of the groups' choices that a trial can have; where there are no groups, the empty one.

    Raises:
        ConfigError: they are too many.
    """
    groups = [one for one in question.space.parameters if _is_group(question, one)]
    combinations = math.prod(len(one.ends) for one in groups)
    if combinations > MOST_COMBINATIONS:
        raise ConfigError(
            f"{WHERE}: has {combinations} combinations of {', '.join(one.name for one in groups)};"
            f" at most {MOST_COMBINATIONS} are searched together"
        )
    return [
        dict(zip((one.name for one in groups), values, strict=True))
        for values in itertools.product(*(one.ends for one in groups))
    ]


def _is_group(question: Question, parameter: Parameter) -> bool:
    return _group_of(question.project.conf, parameter.name) is not None


def _identity(question: Question, picked: Assignment) -> dict[str, Any] | None:
    try:
        return parse_config(_compose_base(question, _named_groups(question, picked))).identity()
    except ConfigError:  # a choice that `when` never brings in beside the others
        return None


def _named_groups(question: Question, assignment: Assignment) -> tuple[tuple[str, Scalar], ...]:
    found = ((_group_of(question.project.conf, name), value) for name, value in assignment.items())
    return tuple((group, value) for group, value in found if group is not None)


def _group_of(conf: Path, name: str) -> str | None:
    """Return the config group whose file the field `<group>.name` chooses; None for any other field."""
    group, _, last = name.rpartition(".")
    path = group.replace(".", "/")
    return path if last == "name" and path and (conf / path).is_dir() else None


@lru_cache(maxsize=MOST_COMBINATIONS)
def _composed(project: Project, words: tuple[str, ...]) -> Config:
    return compose(project, words)


def _compose_base(question: Question, groups: tuple[tuple[str, Scalar], ...]) -> dict[str, Any]:
    if not groups:
        return question.base.tree()
    chosen = tuple(f"{group}={value}" for group, value in groups)
    config = _composed(question.project, (*question.search.base, *question.typed, *chosen))
    return _with_budget(config, question.search).tree()


def _set(tree: dict[str, Any], name: str, value: Scalar) -> None:
    *groups, last = name.split(".")
    for group in groups:
        tree = tree[group]
    tree[last] = value


def _typed(value: Scalar) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
