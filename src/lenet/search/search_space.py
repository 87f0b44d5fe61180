"""Reading a search space: every field is there, every bound and choice is one that the field admits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from lenet.config.validation import closest, parse
from lenet.core.errors import ConfigError
from lenet.search.parameter import WHERE, Parameter, Scalar, Space
from lenet.search.searchable_fields import check_value, field_types

LEAF_KEYS = ("choices", "low", "high", "log", "step", "when")


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
        values = tuple(check_value(types_there, choice, f"{where}.choices") for choice in choices)
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
    low, high = (check_value(types_there, leaf[key], f"{where}.{key}") for key in ("low", "high"))
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
