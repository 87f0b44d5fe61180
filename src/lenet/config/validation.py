"""From a plain tree of values to frozen dataclasses: unknown keys, wrong types and values out of range are one line.

The types are the schema: `Literal` is a closed table of names, `Annotated[float, Bounds(...)]` a range,
`Annotated[str, Matching(...)]` a form, the literal in the `name` field chooses among a union of dataclasses.
"""

from __future__ import annotations

import difflib
import math
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from lenet.core.errors import ConfigError
from lenet.core.urls import VARIABLES, without_password


@dataclass(frozen=True)
class Bounds:
    """A closed range of numbers, open at the low end when `above` is set; None is unbounded."""

    low: float | None = None
    high: float | None = None
    above: float | None = None

    def admits(self, value: float) -> bool:
        """Say whether `value` lies in the range."""
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )

    def __str__(self) -> str:
        parts = []
        if self.above is not None:
            parts.append(f"more than {_shown(self.above)}")
        if self.low is not None:
            parts.append(f"at least {_shown(self.low)}")
        if self.high is not None:
            parts.append(f"at most {_shown(self.high)}")
        return " and ".join(parts)


@dataclass(frozen=True)
class Matching:
    """Texts that a regular expression matches whole; `meaning` says to people which those are."""

    pattern: str
    meaning: str

    def admits(self, value: str) -> bool:
        """Say whether `value` is such a text."""
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.meaning


@dataclass(frozen=True)
class ByName:
    """A group whose key `name` chooses its dataclass from a table that can be added to.

    Attributes:
        names: the names in the table.
        load: returns the dataclass of a name.
    """

    names: tuple[str, ...]
    load: Callable[[str], type]


Name = Annotated[
    str, Matching(r"\w[\w.-]*", "a name of letters, digits, '.', '_' and '-' that begins with a letter, digit or '_'")
]
"""Fit to be a file's or a folder's name."""


def _shown(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"


def closest(name: str, allowed: list[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest of `allowed`, or nothing."""
    near = difflib.get_close_matches(name, allowed, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def parse(schema: Any, value: Any, where: str) -> Any:
    """Turn `value` into what `schema` says.

    Args:
        schema: a dataclass, a union of them, or a field's type.
        value: mappings, lists, numbers, strings, booleans and None, as YAML gives them.
        where: the dotted name of the value, for the message.

    Raises:
        ConfigError: the value does not fit; the message says what was allowed.
    """
    origin = get_origin(schema)
    if origin is Annotated:
        base, *notes = get_args(schema)
        if isinstance(notes[0], ByName):
            return _parse_by_name(notes[0].names, notes[0].load, value, where)
        parsed = parse(base, value, where)
        for note in notes:
            if isinstance(note, Bounds | Matching) and parsed is not None and not note.admits(parsed):
                shown = value if str(value).isprintable() else repr(value)
                raise ConfigError(f"{where}={shown}: must be {note}")
        return parsed
    if origin in (Union, types.UnionType):
        return _parse_union(get_args(schema), value, where)
    if origin is Literal:
        return _parse_name(list(get_args(schema)), value, where)
    if origin is tuple:
        return _parse_list(get_args(schema)[0], value, where)
    if origin is dict:
        return _parse_table(get_args(schema)[1], value, where)
    if is_dataclass(schema):
        return _parse_record(schema, value, where)
    return _parse_scalar(schema, value, where)


def _parse_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    rest = [option for option in options if option is not type(None)]
    if len(rest) == 1:
        return parse(rest[0], value, where)
    table = {name: option for option in rest for name in get_args(get_type_hints(option)["name"])}
    return _parse_by_name(tuple(table), table.__getitem__, value, where)


def _parse_by_name(names: tuple[str, ...], load: Callable[[str], Any], value: Any, where: str) -> Any:
    name = _require_mapping(value, where).get("name", MISSING)
    if name is MISSING:
        raise ConfigError(f"{where}.name is missing: must be one of {', '.join(names)}")
    return parse(load(_parse_name(list(names), name, f"{where}.name")), value, where)


def _parse_name(allowed: list[Any], value: Any, where: str) -> Any:
    if value not in allowed or isinstance(value, bool):
        hint = closest(str(value), [str(name) for name in allowed])
        raise ConfigError(f"{where}={value}: must be one of {', '.join(str(name) for name in allowed)}{hint}")
    return value


def _parse_list(item: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}={value}: must be a list")
    return tuple(parse(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))


def _parse_table(item: Any, value: Any, where: str) -> dict[str, Any]:
    return {str(key): parse(item, entry, f"{where}.{key}") for key, entry in _require_mapping(value, where).items()}


def _require_mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}={value}: must be a group of keys")
    return value


def _parse_record(schema: Any, value: Any, where: str) -> Any:
    body = _require_mapping(value, where)
    hints = get_type_hints(schema, include_extras=True)
    known = [field.name for field in fields(schema)]
    for key in body:
        if key not in known:
            name = f"{where}.{key}" if where else str(key)
            owner = f"{where}'s keys" if where else "keys"
            raise ConfigError(f"{name}: no such key; {owner} are {', '.join(known)}{closest(str(key), known)}")
    return schema(**{field.name: _field_value(field, body, hints[field.name], where) for field in fields(schema)})


def _field_value(field: Field[Any], body: Mapping[str, Any], schema: Any, where: str) -> Any:
    name = f"{where}.{field.name}" if where else field.name
    if field.name in body:
        return parse(schema, body[field.name], name)
    if field.default is not MISSING:
        return field.default
    raise ConfigError(f"{name} is missing")


def _parse_scalar(schema: type, value: Any, where: str) -> Any:
    kind = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[schema]
    if schema is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # a whole number of more than 308 digits
            number = math.inf
        if math.isfinite(number):
            return number
    elif isinstance(value, schema) and (schema is bool or not isinstance(value, bool)):
        _check_no_password(value, where)
        return value
    raise ConfigError(f"{where}={value}: must be {kind}")


def _check_no_password(value: Any, where: str) -> None:
    """Refuse a URL with a password: a config is kept with its run, sent to MLflow and shown."""
    if isinstance(value, str) and (plain := without_password(value)) != value:
        raise ConfigError(
            f"{where}={plain}: has a password, and a config is kept and shown; leave it out here, and give it in the"
            f" environment ({', '.join(VARIABLES)}) or in ~/.netrc"
        )


def dataclasses_of(hint: Any) -> list[type]:
    """Return the dataclasses that a field of this type may hold: those of a union or of a table, itself, or none."""
    if get_origin(hint) is Annotated and isinstance(get_args(hint)[1], ByName):
        table = get_args(hint)[1]
        return [table.load(name) for name in table.names]
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [option for option in options if isinstance(option, type) and is_dataclass(option)]


def flatten(body: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give the leaves of a nested mapping under their dotted names."""
    for key, value in body.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, name)
        else:
            yield name, value
