"""The search space: parameters with their ranges or choices, read from conf/search and checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lenet.config.validation import closest, parse
from lenet.core.errors import ConfigError
from lenet.search.searchable_fields import WHERE, Scalar, check_value, field_types

if TYPE_CHECKING:
    from optuna import Trial

Assignment = dict[str, Scalar]
"""A trial's values by the dotted name of the field."""

Conditions = tuple[tuple[str, tuple[Scalar, ...]], ...]
LEAF_KEYS = ("choices", "low", "high", "log", "step", "when")


@dataclass(frozen=True)
class Parameter:
    """One field of the config that a search sets.

    Attributes:
        name: dotted name of the field, such as optimizer.learning_rate; `<group>.name` chooses among a group's files.
        choices: the values of a categorical parameter; empty where a range is given.
        low: lowest value of a range.
        high: highest value of a range, itself included.
        log: sample on a logarithmic scale.
        step: distance between neighbouring values; None is continuous.
        is_whole: the values are whole numbers.
        when: the parameter is active only where these parameters have one of these values.
    """

    name: str
    choices: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    is_whole: bool = False
    when: Conditions = ()

    def is_active(self, chosen: Mapping[str, Scalar]) -> bool:
        """Say whether the values chosen so far meet the conditions."""
        return all(name in chosen and chosen[name] in allowed for name, allowed in self.when)

    def suggest(self, trial: Trial) -> Scalar:
        """Sample a value for a trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """Every choice, or both ends of a range: if these are allowed, all values are."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.is_whole else (self.low, self.high)


@dataclass(frozen=True)
class Space:
    """The parameters, each after those that its `when` names."""

    parameters: tuple[Parameter, ...]

    def suggest(self, trial: Trial) -> Assignment:
        """Sample a value of every active parameter."""
        chosen: Assignment = {}
        for parameter in self.parameters:
            if parameter.is_active(chosen):
                chosen[parameter.name] = parameter.suggest(trial)
        return chosen

    def tree(self) -> dict[str, Any]:
        """Return the space as a plain tree, for the study's identity."""
        return {one.name: asdict(one) | {"when": {name: list(on) for name, on in one.when}} for one in self.parameters}


def read_space(tree: Any, where: str = WHERE) -> Space:
    """Read a space: nested like the config, with `{low, high, log, step}` or `{choices}`, and `when`, as leaves.

    Args:
        tree: the nested mapping.
        where: what messages put before a field's name.

    Raises:
        ConfigError: the space is empty, names an unknown field, or a value that the field does not allow.
    """
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{WHERE}={tree}: must be a group of keys")
    parameters = {name: _read_leaf(name, leaf, f"{where}.{name}") for name, leaf in _leaves(tree, "", where)}
    if not parameters:
        raise ConfigError(
            f"{where}: is empty; name at least one field, such as optimizer.learning_rate: {{low: 1e-4, high: 1e-1}}"
        )
    return Space(tuple(_parents_first(parameters, where)))


def _leaves(tree: Mapping[str, Any], prefix: str, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}.{name}={value}: must be a range ({{low, high}}) or {{choices}}")
        if set(value) & {"choices", "low", "high"}:
            yield name, value
        else:
            yield from _leaves(value, f"{name}.", where)


def _read_leaf(name: str, leaf: Mapping[str, Any], where: str) -> Parameter:
    types = field_types(name, where)
    for key in leaf:
        if key not in LEAF_KEYS:
            raise ConfigError(f"{where}.{key}: no such key; allowed are {', '.join(LEAF_KEYS)}")
    when = _read_when(leaf.get("when") or {}, where)
    if "choices" not in leaf:
        return _read_range(name, leaf, types, when, where)
    if set(leaf) - {"choices", "when"}:
        raise ConfigError(f"{where}: a parameter has choices or a range, not both")
    choices = leaf["choices"]
    if not isinstance(choices, list | tuple) or not choices:
        raise ConfigError(f"{where}.choices={choices}: must be a list of at least one value")
    values = tuple(check_value(types, choice, f"{where}.choices") for choice in choices)
    if len(set(values)) < len(values):
        raise ConfigError(f"{where}.choices={list(choices)}: must not name one twice")
    return Parameter(name, choices=values, when=when)


def _read_range(name: str, leaf: Mapping[str, Any], types: list[Any], when: Conditions, where: str) -> Parameter:
    for key in ("low", "high"):
        if key not in leaf:
            raise ConfigError(f"{where}.{key} is missing")
    low, high = (check_value(types, leaf[key], f"{where}.{key}") for key in ("low", "high"))
    if isinstance(low, bool) or not isinstance(low, int | float) or not isinstance(high, int | float):
        raise ConfigError(f"{where}: is no number and has no range; give it choices")
    if low >= high:
        raise ConfigError(f"{where}: low={low:g} must be less than high={high:g}")
    log, step, is_whole = parse(bool, leaf.get("log", False), f"{where}.log"), leaf.get("step"), isinstance(low, int)
    if log and low <= 0:
        raise ConfigError(f"{where}.log=true: low must be more than 0, it is {low:g}")
    if step is not None:
        step = parse(int if is_whole else float, step, f"{where}.step")
        if log:
            raise ConfigError(f"{where}.step={step:g}: a logarithmic range has no step")
        if not 0 < step <= high - low:
            raise ConfigError(f"{where}.step={step:g}: must be more than 0 and at most high - low = {high - low:g}")
        if not math.isclose(math.remainder(high - low, step), 0.0, abs_tol=1e-9 * step):
            raise ConfigError(f"{where}.step={step:g}: does not divide high - low = {high - low:g}")
    return Parameter(name, low=float(low), high=float(high), log=log, step=step, is_whole=is_whole, when=when)


def _read_when(tree: Any, where: str) -> Conditions:
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{where}.when={tree}: must be a group of keys, such as {{optimizer.name: sgd}}")
    listed = {str(name): values if isinstance(values, list | tuple) else (values,) for name, values in tree.items()}
    return tuple((name, tuple(values)) for name, values in listed.items())


def _parents_first(parameters: dict[str, Parameter], where: str) -> Iterator[Parameter]:
    for parameter in parameters.values():
        for name, values in parameter.when:
            if name not in parameters:
                raise ConfigError(
                    f"{where}.{parameter.name}.when.{name}: is not in the space{closest(name, list(parameters))}"
                )
            for value in values:
                if parameters[name].choices and value not in parameters[name].choices:
                    raise ConfigError(f"{where}.{parameter.name}.when.{name}={value}: the space never chooses that")
    waiting, given = dict(parameters), set[str]()
    while waiting:
        ready = [one for one in waiting.values() if all(name in given for name, _ in one.when)]
        if not ready:
            raise ConfigError(f"{where}: the `when` of {', '.join(waiting)} depend on each other")
        for one in ready:
            yield one
            given.add(one.name)
            del waiting[one.name]
