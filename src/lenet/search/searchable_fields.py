"""The fields of a run's config that a search may set, and what each of them admits."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from lenet.config.schema import Config
from lenet.config.validation import closest, parse
from lenet.core.errors import ConfigError
from lenet.search.parameter import WHERE, Scalar

SEARCHED_GROUPS = ("model", "augmentation", "optimizer", "trainer")
NOT_SEARCHED = {
    "trainer.epochs": "search.epochs says how long a trial trains",
    "trainer.devices": "it says where a run is trained, not how well",
    "trainer.accelerator": "it says where a run is trained, not how well",
    "trainer.strategy": "it says where a run is trained, not how well",
    "trainer.threads": "it says where a run is trained, not how well",
    "trainer.checkpoint_seconds": "it changes no result",
    "trainer.progress": "it changes no result",
}


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


def check_value(types_there: list[Any], value: Any, where: str) -> Scalar:
    """Return a value as the field's type has it, where one of the field's types admits it.

    Args:
        types_there: what `field_types` gave.
        value: as it was read.
        where: the place it was read from, for the message.

    Raises:
        ConfigError: none admits it.
    """
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
    if len(types_there) > 1 and str(first).startswith(f"{where}={value}: must be one of"):
        names = [name for kind in types_there for name in get_args(kind)]
        raise ConfigError(f"{where}={value}: must be one of {', '.join(map(str, names))}")
    raise first
