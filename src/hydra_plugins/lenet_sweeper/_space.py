"""The sweep's overrides: what is swept becomes the search space, all else holds for every trial."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from lenet.config.validation import closest
from lenet.core.errors import ConfigError
from lenet.search.parameter import Assignment, Parameter, Scalar, Space

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

LOG, INT = "log", "int"
MAX_COMBINATIONS = 256
"""Combinations of group choices that are checked before the first trial; more are refused."""


@dataclass(frozen=True)
class Swept:
    """One override that is swept.

    Attributes:
        parameter: what a study draws; its name is what stands left of the `=`, its choices are texts as typed.
        grid: the values of a range of fractions, as Hydra enumerates them; otherwise empty.
    """

    parameter: Parameter
    grid: tuple[float, ...] = ()

    def word(self, value: Scalar) -> str:
        """Return the override for a drawn value."""
        if self.grid:  # Optuna's own steps differ from them in the last digit, which would be another run
            assert isinstance(value, float)
            drawn = value
            value = min(self.grid, key=lambda point: abs(point - drawn))
        return f"{self.parameter.name}={value}"


@dataclass(frozen=True)
class SweepSpace:
    """What a sweep looks through.

    Attributes:
        fixed: overrides that every trial has, as typed.
        swept: the others, by name.
    """

    fixed: tuple[str, ...]
    swept: tuple[Swept, ...]

    @property
    def space(self) -> Space:
        """What a study draws from."""
        return Space(tuple(one.parameter for one in self.swept))

    def words(self, assignment: Assignment) -> tuple[str, ...]:
        """Return a trial's overrides, as one types them to train.py."""
        return (*self.fixed, *(one.word(assignment[one.parameter.name]) for one in self.swept))

    def groups(self, conf: Path) -> tuple[str, ...]:
        """Return the names that choose among a group's files; groups are the folders of the configuration's."""
        names = (one.parameter.name for one in self.swept)
        return tuple(name for name in names if (conf / name.lstrip("+").partition("@")[0]).is_dir())

    def ends(self, conf: Path) -> Iterator[Assignment]:
        """Give assignments that hold every choice and both ends of every range, with each combination of groups.

        Args:
            conf: the configuration's folder.

        Raises:
            ConfigError: there are too many combinations of groups.
        """
        parameters, names = self.space.parameters, self.groups(conf)
        groups = [one for one in parameters if one.name in names]
        others = [one for one in parameters if one.name not in names]
        combinations = math.prod(len(one.ends) for one in groups)
        if combinations > MAX_COMBINATIONS:
            raise ConfigError(
                f"{', '.join(names)}: are {combinations} combinations of groups; at most {MAX_COMBINATIONS}"
            )
        turns = max((len(one.ends) for one in others), default=1)
        for picked in itertools.product(*(one.ends for one in groups)):
            chosen = dict(zip(names, picked, strict=True))
            for turn in range(turns):
                yield chosen | {one.name: one.ends[min(turn, len(one.ends) - 1)] for one in others}


def read_overrides(words: Sequence[str], loader: ConfigLoader | None = None) -> SweepSpace:
    """Read a sweep's overrides with Hydra's own grammar; of two for one key the last one counts.

    Args:
        words: the overrides, as Hydra has them.
        loader: knows the options of a group, for `glob(…)`.

    Raises:
        ConfigError: nothing is swept, or something is not as it can be swept.
        HydraException: an override cannot be parsed.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(words))
    by_key = {override.get_key_element().lstrip("+~"): override for override in parsed}
    fixed = [_typed(one) for one in by_key.values() if not one.is_sweep_override()]
    swept = [_swept(one) for one in by_key.values() if one.is_sweep_override()]
    if not swept:
        raise ConfigError(
            "hydra/sweeper=optuna: nothing is swept; give an override several values, such as"
            " model.activation=tanh,relu or 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))'"
        )
    # By name, so that the same sweep typed in another order is the same study.
    return SweepSpace(tuple(fixed), tuple(sorted(swept, key=lambda one: one.parameter.name)))


def _typed(override: Override) -> str:
    return str(override.input_line)


def _swept(override: Override) -> Swept:
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep

    name, where, value = override.get_key_element(), _typed(override), override.value()
    if isinstance(value, IntervalSweep):
        return _interval(name, value, where)
    if isinstance(value, RangeSweep):
        return _range(name, value, where)
    return _choice(name, override, where)


def _choice(name: str, override: Override, where: str) -> Swept:
    from hydra.core.override_parser.types import ChoiceSweep

    value = override.value()
    if isinstance(value, ChoiceSweep):  # otherwise a glob, which has neither
        _check_tags(value, where, ())
        value.shuffle = False  # the order says nothing here, and the study must find the same choices again
    choices = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise ConfigError(f"{where}: has no value")
    return Swept(Parameter(name, choices=choices))


def _interval(name: str, interval: IntervalSweep, where: str) -> Swept:
    _check_tags(interval, where, (LOG, INT))
    low, high = interval.start, interval.end
    assert low is not None
    assert high is not None
    is_whole = INT in interval.tags or (isinstance(low, int) and isinstance(high, int))
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        raise ConfigError(f"{where}: the interval's start must be less than its end")
    if is_whole and not (float(low).is_integer() and float(high).is_integer()):
        raise ConfigError(f"{where}: the ends of an interval of whole numbers must be whole")
    is_log = _is_log(interval, where, low)
    return Swept(Parameter(name, low=float(low), high=float(high), log=is_log, is_whole=is_whole))


def _range(name: str, given: RangeSweep, where: str) -> Swept:
    """Read a range; as anywhere in Hydra its stop is not one of its values."""
    _check_tags(given, where, (LOG,))
    if not given.step:
        raise ConfigError(f"{where}: the range's step must not be 0")
    given.shuffle = False  # the order says nothing here
    points = given.range()
    return (
        _whole(name, points, given, where)
        if isinstance(points, range)
        else _fractions(name, tuple(points), given, where)
    )


def _whole(name: str, points: range, given: RangeSweep, where: str) -> Swept:
    if len(points) <= 1:
        return _listed(name, points, where)
    low, high, step = min(points[0], points[-1]), max(points[0], points[-1]), abs(points.step)
    is_log = _is_log(given, where, low)
    if is_log and step != 1:
        raise ConfigError(f"{where}: a range searched by ratios (log) has no step but 1")
    return Swept(Parameter(name, low=low, high=high, log=is_log, step=None if is_log else step, is_whole=True))


def _fractions(name: str, points: tuple[float, ...], given: RangeSweep, where: str) -> Swept:
    if LOG in given.tags:
        raise ConfigError(f"{where}: a range of fractions is not searched by ratios (log); use interval")
    if len(points) <= 1:
        return _listed(name, points, where)
    low, step = min(points), abs(Decimal(str(given.step)))
    high = float(Decimal(str(low)) + (len(points) - 1) * step)  # what Optuna takes for a multiple of the step
    return Swept(Parameter(name, low=low, high=high, step=float(step)), points)


def _listed(name: str, points: Sequence[float], where: str) -> Swept:
    if not points:
        raise ConfigError(f"{where}: has no value")
    return Swept(Parameter(name, choices=tuple(map(str, points))))


def _check_tags(given: ChoiceSweep | RangeSweep | IntervalSweep, where: str, allowed: Sequence[str]) -> None:
    for tag in sorted(given.tags - set(allowed)):
        options = (
            f"must be one of {', '.join(allowed)}{closest(tag, list(allowed))}" if allowed else "choices have none"
        )
        raise ConfigError(f"{where}: tag {tag}: {options}")


def _is_log(given: RangeSweep | IntervalSweep, where: str, low: float) -> bool:
    if LOG in given.tags and low <= 0:
        raise ConfigError(f"{where}: searched by ratios (log), the lowest value must be more than 0, it is {low:g}")
    return LOG in given.tags
