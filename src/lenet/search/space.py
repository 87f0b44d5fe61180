"""The search space: which fields of a run's config are looked through, and within what bounds."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from lenet.config import Config
from lenet.errors import ConfigError
from lenet.schema import closest, parse

if TYPE_CHECKING:
    from optuna import Trial

Scalar = bool | int | float | str | None
Assignment = dict[str, Scalar]
"""A trial's values by the dotted name of the field."""

WHERE = "search.space"
LEAF_KEYS = ("choices", "low", "high", "log", "step", "when")
SEARCHED_GROUPS = ("model", "distortion", "optimizer", "trainer")
NOT_SEARCHED = {
    "trainer.epochs": "search.epochs says how long a trial trains",
    "trainer.devices": "it says where a run is trained, not how well",
    "trainer.accelerator": "it says where a run is trained, not how well",
    "trainer.strategy": "it says where a run is trained, not how well",
    "trainer.threads": "it says where a run is trained, not how well",
    "trainer.checkpoint_seconds": "it changes no result",
    "trainer.progress": "it changes no result",
}


@dataclass(frozen=True)
class Parameter:
    """One field that a search may set.

    Attributes:
        name: dotted name of the field, such as optimizer.learning_rate; `<group>.name` chooses among a group's files.
        choices: the values there are; empty where a range is given.
        low: lowest value of a range.
        high: highest value of a range, itself included.
        log: the range is searched by ratios.
        step: distance between neighbouring values; None is any.
        is_whole: the values are whole numbers.
        when: other parameters and the values of theirs that bring this one in.
    """

    name: str
    choices: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    is_whole: bool = False
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()

    def is_active(self, chosen: Mapping[str, Scalar]) -> bool:
        """Say whether the values chosen so far bring this parameter in."""
        return all(name in chosen and chosen[name] in allowed for name, allowed in self.when)

    def suggest(self, trial: Trial) -> Scalar:
        """Ask the trial for a value."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """The values that say whether all of them are allowed: every choice, or both ends of a range."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.is_whole else (self.low, self.high)

    def tree(self) -> dict[str, Any]:
        """Return what tells this parameter from another, for the study's identity."""
        body: dict[str, Any] = {"choices": list(self.choices)} if self.choices else {"low": self.low, "high": self.high}
        conditions = {name: list(values) for name, values in self.when}
        return body | {"log": self.log, "step": self.step, "whole": self.is_whole, "when": conditions}


@dataclass(frozen=True)
class Space:
    """The parameters, each after those that its `when` names."""

    parameters: tuple[Parameter, ...]

    def suggest(self, trial: Trial) -> Assignment:
        """Ask the trial for a value of every parameter that is active."""
        chosen: Assignment = {}
        for parameter in self.parameters:
            if parameter.is_active(chosen):
                chosen[parameter.name] = parameter.suggest(trial)
        return chosen

    def tree(self) -> dict[str, Any]:
        """Return the space as a plain tree, for the study's identity."""
        return {parameter.name: parameter.tree() for parameter in self.parameters}


def read_space(tree: Any) -> Space:
    """Read `search.space`: nested like the config, with `{low, high, log, step}` or `{choices}`, and `when`, as leaves.

    Raises:
        ConfigError: the space is empty, names a field that is not there, or a bound that the field does not allow.
    """
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{WHERE}={tree}: must be a group of keys")
    found = {name: _read_leaf(name, leaf) for name, leaf in _leaves(tree, "")}
    if not found:
        raise ConfigError(
            f"{WHERE}: is empty; name at least one field, such as optimizer.learning_rate: {{low: 1e-4, high: 1e-1}}"
        )
    return Space(tuple(_parents_first(found)))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in tree.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if not isinstance(value, Mapping):
            raise ConfigError(f"{WHERE}.{name}={value}: must be a range ({{low, high}}) or {{choices}}")
        if set(value) & {"choices", "low", "high"}:
            yield name, value
        else:
            yield from _leaves(value, name)


def _read_leaf(name: str, leaf: Mapping[str, Any]) -> Parameter:
    where = f"{WHERE}.{name}"
    types_there = field_types(name)
    for key in leaf:
        if key not in LEAF_KEYS:
            raise ConfigError(f"{where}.{key}: no such key; allowed are {', '.join(LEAF_KEYS)}")
    when = _read_when(leaf.get("when") or {}, where)
    if "choices" in leaf:
        for key in ("low", "high", "log", "step"):
            if key in leaf:
                raise ConfigError(f"{where}.{key}: a parameter has choices or a range, not both")
        choices = leaf["choices"]
        if not isinstance(choices, list | tuple) or not choices:
            raise ConfigError(f"{where}.choices={choices}: must be a list of at least one value")
        values = tuple(_check(types_there, choice, f"{where}.choices") for choice in choices)
        if len(set(values)) < len(values):
            raise ConfigError(f"{where}.choices={list(choices)}: must not name one twice")
        return Parameter(name, choices=values, when=when)
    return _read_range(name, leaf, types_there, when)


def _read_range(
    name: str,
    leaf: Mapping[str, Any],
    types_there: list[Any],
    when: tuple[tuple[str, tuple[Scalar, ...]], ...],
) -> Parameter:
    where = f"{WHERE}.{name}"
    for key in ("low", "high"):
        if key not in leaf:
            raise ConfigError(f"{where}.{key} is missing")
    low, high = (_check(types_there, leaf[key], f"{where}.{key}") for key in ("low", "high"))
    is_number = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not is_number:
        raise ConfigError(f"{where}: is no number and has no range; give it choices")
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low >= high:
        raise ConfigError(f"{where}: low={low:g} must be less than high={high:g}")
    log, step = parse(bool, leaf.get("log", False), f"{where}.log"), leaf.get("step")
    if log and low <= 0:
        raise ConfigError(f"{where}.log=true: needs low more than 0, it is {low:g}")
    if step is not None:
        is_whole = isinstance(low, int)
        step = parse(int if is_whole else float, step, f"{where}.step")
        if log:
            raise ConfigError(f"{where}.step={step:g}: a range searched by ratios (log) has no step")
        if not 0 < step <= high - low:
            raise ConfigError(f"{where}.step={step:g}: must be more than 0 and at most high - low = {high - low:g}")
        if not math.isclose(math.remainder(high - low, step), 0.0, abs_tol=1e-9 * step):
            raise ConfigError(f"{where}.step={step:g}: does not divide high - low = {high - low:g}")
    return Parameter(
        name, low=float(low), high=float(high), log=log, step=step, is_whole=isinstance(low, int), when=when
    )


def _read_when(tree: Any, where: str) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where}.when={tree}: must be a group of keys, such as {{optimizer.name: sgd}}")
    conditions = []
    for name, values in tree.items():
        conditions.append((str(name), tuple(values) if isinstance(values, list | tuple) else (values,)))
    return tuple(conditions)


def _parents_first(found: dict[str, Parameter]) -> Iterator[Parameter]:
    waiting, given = dict(found), set[str]()
    for parameter in found.values():
        for name, values in parameter.when:
            if name not in found:
                raise ConfigError(
                    f"{WHERE}.{parameter.name}.when.{name}: is not in the space{closest(name, list(found))}"
                )
            for value in values:
                if found[name].choices and value not in found[name].choices:
                    raise ConfigError(f"{WHERE}.{parameter.name}.when.{name}={value}: the space never chooses that")
    while waiting:
        ready = [one for one in waiting.values() if all(name in given for name, _ in one.when)]
        if not ready:
            raise ConfigError(f"{WHERE}: {', '.join(waiting)} wait for each other in their `when`")
        for one in ready:
            yield one
            given.add(one.name)
            del waiting[one.name]


def field_types(name: str) -> list[Any]:
    """Return the types that a field of the config has, one for each variant of its group that knows it.

    Raises:
        ConfigError: there is no such field, or it is none that a search may set.
    """
    known = {field: kinds for field, kinds in _fields(Config, "").items() if field.split(".")[0] in SEARCHED_GROUPS}
    if name in NOT_SEARCHED:
        raise ConfigError(f"{WHERE}.{name}: is not searched; {NOT_SEARCHED[name]}")
    if name not in known:
        searched = sorted(set(known) - set(NOT_SEARCHED))
        raise ConfigError(f"{WHERE}.{name}: no such field{closest(name, searched)}; `python train.py --help` has them")
    return known[name]


def _fields(schema: Any, prefix: str) -> dict[str, list[Any]]:
    """Return every leaf of a dataclass by dotted name, with its type in each member of a union that has it."""
    found: dict[str, list[Any]] = {}
    hints = get_type_hints(schema, include_extras=True)
    for field in fields(schema):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        groups = [member for member in members if is_dataclass(member)]
        if not groups:
            found.setdefault(name, []).append(hint)
        for group in groups:
            for inner, kinds in _fields(group, f"{name}.").items():
                known = found.setdefault(inner, [])
                known += [kind for kind in kinds if kind not in known]
    return found


def _check(types_there: list[Any], value: Any, where: str) -> Scalar:
    """Return the value as the field's type has it, where one of the field's types admits it."""
    first: ConfigError | None = None
    for kind in types_there:
        base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        try:
            checked: Scalar = parse(kind, value, where)
        except ConfigError as error:
            first = first or error
        else:
            return float(checked) if base is float and checked is not None else checked
    assert first is not None
    if len(types_there) > 1 and all(str(first).startswith(f"{where}={value}: must be one of") for _ in (0,)):
        names = [name for kind in types_there for name in get_args(kind)]
        raise ConfigError(f"{where}={value}: must be one of {', '.join(map(str, names))}")
    raise first
