"""How objectives, fields and values are written beside the axes of a search's pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import FEW_TICKS

if TYPE_CHECKING:
    from lenet.search.parameter import Scalar

NAMES = {"val/error": "validation error", "parameters": "parameters", "latency_ms": "latency"}
UNITS = {"val/error": " %", "latency_ms": " ms"}
WORD_CHARACTERS = 16
VALUE_CHARACTERS = 12
MIN_SHARE = 0.01
MANY_TICKS = 1000.0
"""A logarithmic axis that spans more has a tick for each power of ten alone."""


def objective_name(objective: str) -> str:
    """Return what an objective is called."""
    return NAMES.get(objective, objective)


def objective_text(objective: str, value: float) -> str:
    """Return an objective's value with its unit."""
    if objective == "parameters":
        return f"{value:,.0f}"
    return f"{value:.2f}{UNITS.get(objective, '')}"


def percent(share: float) -> str:
    """Return a share in whole percent."""
    return f"{share:.0%}".replace("%", " %") if share >= MIN_SHARE else "< 1 %"


def field_lines(name: str) -> list[str]:
    """Return a field's dotted name as short lines, its last part last."""
    *groups, last = name.split(".")
    words = [word for part in ([groups[-1], last] if groups else [last]) for word in _broken(part)]
    return [canvas.clean(word, WORD_CHARACTERS) for word in words]


def _broken(part: str) -> list[str]:
    """Break a part of a name at the underscore nearest to its middle, where it is too long for one line."""
    places = [place for place, character in enumerate(part) if character == "_" and 0 < place < len(part) - 1]
    if len(part) <= WORD_CHARACTERS - 4 or not places:
        return [part]
    place = min(places, key=lambda place: abs(place - len(part) / 2))
    return [part[: place + 1], part[place + 1 :]]


def value_text(value: Scalar) -> str:
    """Return a value as one types it, short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else canvas.clean(str(value), VALUE_CHARACTERS)


def ticks(values: Iterable[float], log: bool, whole: bool = False) -> list[float]:
    """Return round numbers between the least and the largest of the values, for an axis that spans them."""
    from matplotlib import ticker

    seen = list(values)
    low, high = min(seen), max(seen)
    ratio = high / low if log else 0.0
    locator: ticker.Locator
    if ratio >= FEW_TICKS:
        locator = ticker.LogLocator(subs=(1.0,) if ratio > MANY_TICKS else (1.0, 2.0, 5.0))
    else:
        locator = ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole)
    margin = 1e-9 * (high - low)
    found = [float(tick) for tick in locator.tick_values(low, high) if low - margin <= tick <= high + margin]
    return found if len(found) > 1 else sorted({low, high})
