"""What a search is asked to be: its space, its budget and what every trial has in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from lenet.config.compose import compose, compose_tree
from lenet.config.hydra_errors import translate_hydra_errors
from lenet.config.schema import Config, parse_config
from lenet.config.validation import flatten, parse
from lenet.core.atomic_io import canonical_json, sha256_bytes
from lenet.core.errors import ConfigError
from lenet.core.project import Project
from lenet.runs.fingerprint import code_digest
from lenet.search.config_groups import MAX_COMBINATIONS, group_choices, group_of, named_groups
from lenet.search.parameter import WHERE, Assignment, Scalar, Space
from lenet.search.search_config import SearchConfig, check_search
from lenet.search.search_space import read_space

GROUP = "search"
DEFAULT = "recipe"
OWN = ("seed", "trainer.epochs")
"""Fields that a search has a knob of its own for."""

DIGITS = 12
"""Of the digest in a study's name."""


@dataclass(frozen=True)
class SearchSpec:
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
        tree = _compose_base(self, named_groups(self.project.conf, assignment))
        for name, value in assignment.items():
            if group_of(self.project.conf, name) is None:
                _set(tree, name, value)
        return parse_config(tree)

    def overrides(self, assignment: Assignment) -> tuple[str, ...]:
        """Return what one types to train.py to train a trial's run."""
        words = [*self.search.base, *self.typed]
        for name, value in assignment.items():
            group = group_of(self.project.conf, name)
            words.append(f"{group or name}={_typed(value)}")
        words += [f"trainer.epochs={self.search.epochs}", f"seed={self.search.seed}"]
        return tuple(words)

    def study_name(self, data_digest: str) -> str:
        """Return the study's name: whatever changes what a trial means is in it, the budget is not."""
        body = self.meaning() | {"data": data_digest, "code": code_digest()}
        return f"{self.search.name}-{sha256_bytes(canonical_json(body).encode())[:DIGITS]}"

    def meaning(self) -> dict[str, Any]:
        """Return all of conf/ and of what was typed that changes what a trial means, resolved to plain values."""
        body: dict[str, Any] = {"space": self.space.tree(), "base": self.base.identity()}
        groups = group_choices(self.project.conf, self.space)
        if any(groups):  # the files of conf/ that its choices stand for; without any the base says it all
            body["groups"] = [[picked, _identity(self, picked)] for picked in groups]
        meaning = asdict(self.search)
        for name in ("name", "base", "trials", "minutes", "workers", "storage"):
            del meaning[name]
        return body | {"search": meaning}


def read_spec(project: Project, words: Sequence[str]) -> SearchSpec:
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
    check_search(search)
    space = read_space(space_tree)
    for word in typed:
        key = word.lstrip("+").partition("=")[0]
        if key in OWN:
            raise ConfigError(f"{word}: a search has its own; use search.{key.removeprefix('trainer.')}=…")
        _check_not_searched(project, word, space, chosen[-1].partition("=")[2])
    question = SearchSpec(project, search, space, typed, compose(project, [*search.base, *typed]))
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

    with translate_hydra_errors(conf):
        (override,) = OverridesParser.create().parse_overrides([word])
    key, value = override.key_or_group, override.value()
    if override.is_delete() or override.package is not None:
        return set()
    if isinstance(value, dict):
        return {f"{key}.{name}" for name, _ in flatten(value)}
    return {f"{key.replace('/', '.')}.name"} if (conf / key).is_dir() else {key}


def _with_budget(config: Config, search: SearchConfig) -> Config:
    # A trial is watched an epoch at a time, whatever a lone run's checkpoints are spaced at.
    trainer = replace(config.trainer, epochs=search.epochs, threads=1, progress=False, checkpoint_seconds=0.0)
    if config.data.validation_size == 0:
        raise ConfigError("data.validation_size=0: a search chooses by the validation error")
    if config.trainer.devices > 1:
        raise ConfigError(f"trainer.devices={config.trainer.devices}: a trial has one; use search.workers")
    return replace(config, name=search.name, trainer=trainer, seed=search.seed)


def _check_combinations(question: SearchSpec) -> None:
    """Compose every combination of group choices with both ends of all other parameters."""
    for picked in group_choices(question.project.conf, question.space):
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


def _identity(question: SearchSpec, picked: Assignment) -> dict[str, Any] | None:
    groups = named_groups(question.project.conf, picked)
    try:
        return parse_config(_compose_base(question, groups)).identity()
    except ConfigError:  # a choice that `when` never brings in beside the others
        return None


@lru_cache(maxsize=MAX_COMBINATIONS)
def _composed(project: Project, words: tuple[str, ...]) -> Config:
    return compose(project, words)


def _compose_base(question: SearchSpec, groups: tuple[tuple[str, Scalar], ...]) -> dict[str, Any]:
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
