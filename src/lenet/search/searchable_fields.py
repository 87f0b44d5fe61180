"""The fields of a run's config that a search may set, and the values that each allows."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from lenet.config.schema import Config
from lenet.config.validation import closest, dataclasses_of, parse
from lenet.core.errors import ConfigError

Scalar = bool | int | float | str | None
WHERE = "search.space"

SEARCHED_GROUPS = ("model", "augmentation", "optimizer", "trainer")
NOT_SEARCHED = {
    "trainer.epochs": "all trials have the same number of epochs",
    "trainer.max_batches": "it is for a quick look",
    "trainer.early_stopping.patience": "all trials have the same number of epochs; search.pruner ends the poor ones",
    "trainer.early_stopping.min_delta": "all trials have the same number of epochs; search.pruner ends the poor ones",
    "trainer.devices": "it says where a run is trained, not how well",
    "trainer.accelerator": "it says where a run is trained, not how well",
    "trainer.strategy": "it says where a run is trained, not how well",
    "trainer.kernel": "it says what does the arithmetic, not how well",
    "trainer.cuda_graphs": "it changes no result",
    "trainer.threads": "it says where a run is trained, not how well",
    "trainer.checkpoint_seconds": "it changes no result",
    "trainer.progress": "it changes no result",
}


def group_of(conf: Path, name: str) -> str | None:
    """Return the config group whose file the field `<group>.name` chooses; None for any other field."""
    group, _, last = name.rpartition(".")
    path = group.replace(".", "/")
    return path if last == "name" and path and (conf / path).is_dir() else None


def field_types(name: str, where: str) -> list[Any]:
    """Return the types that a field of the config has, one for each variant of its group that has it.

    Args:
        name: the field's dotted name.
        where: what messages call it.

    Raises:
        ConfigError: there is no such field, or a search may not set it.
    """
    if name in NOT_SEARCHED:
        raise ConfigError(f"{where}: is not searched; {NOT_SEARCHED[name]}")
    known = {field: kinds for field, kinds in _fields(Config, "").items() if field.split(".")[0] in SEARCHED_GROUPS}
    if name not in known:
        searched = sorted(set(known) - set(NOT_SEARCHED))
        raise ConfigError(
            f"{where}: no such field{closest(name, searched)}; a search sets fields of {', '.join(SEARCHED_GROUPS)}"
        )
    return known[name]


def _fields(schema: Any, prefix: str) -> dict[str, list[Any]]:
    """Return every leaf of a dataclass by dotted name, with its type in each member of a union that has it."""
    found: dict[str, list[Any]] = {}
    hints = get_type_hints(schema, include_extras=True)
    for field in fields(schema):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        groups = dataclasses_of(hint)
        if not groups:
            found.setdefault(name, []).append(hint)
        for group in groups:
            for inner, kinds in _fields(group, f"{name}.").items():
                known = found.setdefault(inner, [])
                known += [kind for kind in kinds if kind not in known]
    return found


def check_value(allowed: list[Any], value: Any, where: str) -> Scalar:
    """Return a value as the field's type has it.

    Args:
        allowed: types of the field; one of them must allow the value.
        value: as it was read.
        where: its name, for the message.

    Raises:
        ConfigError: none allows it.
    """
    first: ConfigError | None = None
    for kind in allowed:
        base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        try:
            checked: Scalar = parse(kind, value, where)
        except ConfigError as error:
            first = first or error
        else:
            return float(checked) if base is float and checked is not None else checked
    assert first is not None
    if len(allowed) > 1 and str(first).startswith(f"{where}={value}: must be one of"):
        names = [name for kind in allowed for name in get_args(kind)]
        raise ConfigError(f"{where}={value}: must be one of {', '.join(map(str, names))}")
    raise first
