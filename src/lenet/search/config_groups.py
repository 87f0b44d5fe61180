"""The fields of a search space that choose among the files of a config group, `<group>.name`."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

from lenet.core.errors import ConfigError
from lenet.search.parameter import WHERE, Assignment, Scalar, Space

MAX_COMBINATIONS = 256
"""Combinations of group choices that are checked before the first trial; a larger space is refused."""


def group_of(conf: Path, name: str) -> str | None:
    """Return the config group whose file the field `<group>.name` chooses; None for any other field."""
    group, _, last = name.rpartition(".")
    path = group.replace(".", "/")
    return path if last == "name" and path and (conf / path).is_dir() else None


def named_groups(conf: Path, assignment: Assignment) -> tuple[tuple[str, Scalar], ...]:
    """Return the groups that a trial's values choose a file of, with the file's name."""
    found = ((group_of(conf, name), value) for name, value in assignment.items())
    return tuple((group, value) for group, value in found if group is not None)


def group_choices(conf: Path, space: Space) -> list[Assignment]:
    """Return every combination of the groups' choices that a trial can have; where there are no groups, the empty one.

    Raises:
        ConfigError: they are too many.
    """
    groups = [one for one in space.parameters if group_of(conf, one.name) is not None]
    combinations = math.prod(len(one.ends) for one in groups)
    if combinations > MAX_COMBINATIONS:
        raise ConfigError(
            f"{WHERE}: has {combinations} combinations of {', '.join(one.name for one in groups)};"
            f" at most {MAX_COMBINATIONS} are searched together"
        )
    return [
        dict(zip((one.name for one in groups), values, strict=True))
        for values in itertools.product(*(one.ends for one in groups))
    ]
