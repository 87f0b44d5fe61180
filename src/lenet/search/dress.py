"""Our look on a Plotly figure, which is handled as the plain tree that the page holds."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lenet.evaluation.plots.style import BLUE, FEW_ERROR_TICKS, INK, LINE, SOFT, log_ticks
from lenet.search.objective import MEASURE
from lenet.search.plots.history import GREY, PINK
from lenet.search.plots.labels import UNITS, objective_name, objective_text, ticks, value_text
from lenet.search.trial_records import TrialRecord

Figure = dict[str, Any]
"""`data`: a tree for each trace; `layout`."""


@dataclass(frozen=True)
class Chart:
    """A figure with what is written over it.

    Attributes:
        heading: a few words.
        text: how to read it, or why there is none.
        figure: for Plotly; None where there is nothing to draw.
    """

    heading: str
    text: str
    figure: Figure | None = None


HEIGHT = 400
COLUMNS, ROW_HEIGHT, GAP_X, GAP_Y = 3, 235, 0.045, 62
"""Of a figure of many panels; heights in pixels, the gap between columns as part of the width."""

MAX_TICKS = 6
TICK_GAP = 0.07
"""Of an axis' length, what two ticks of an error are apart at the least."""

NEARBY = 1.2
SHADE = 0.82  # Optuna's lightest blue is white: darkened so much it can be seen
TEXT_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
LAYOUT: dict[str, Any] = {
    "font": {"family": TEXT_FONT, "size": 13, "color": INK},
    "paper_bgcolor": "#ffffff",
    "plot_bgcolor": "#ffffff",
    "margin": {"l": 70, "r": 24, "t": 34, "b": 56},
    "hovermode": "closest",
    "hoverlabel": {"bgcolor": "#ffffff", "bordercolor": LINE, "align": "left", "font": {"color": INK, "size": 12}},
}
AXIS: dict[str, Any] = {
    "gridcolor": LINE,
    "linecolor": LINE,
    "zeroline": False,
    "tickfont": {"color": SOFT, "size": 12},
}
COLOURS = {"complete": BLUE, "over a limit": PINK, "pruned": GREY, "failed": INK}
SYMBOLS = {"complete": "circle", "over a limit": "square-open", "pruned": "triangle-down-open", "failed": "x-thin"}
HOVER = "%{text}<extra></extra>"
NO_TRIAL = "No trial is complete yet."
LEGEND: dict[str, Any] = {"showlegend": True, "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}}


def plain(figure: Any) -> Figure:
    """Return a Plotly figure as a plain tree, without its title and its look."""
    # Plotly's other way of writing JSON refuses what is no UTF-8, such as a name typed in another encoding.
    tree: Figure = json.loads(figure.to_json(engine="json"))
    for key in ("template", "title", "width", "height"):
        tree["layout"].pop(key, None)
    tree["layout"] |= LAYOUT | {"height": HEIGHT}
    for key in axes_of(tree):
        tree["layout"][key] = AXIS | tree["layout"][key]
    return tree


def axes_of(figure: Figure) -> list[str]:
    """Return the keys of a figure's axes."""
    return [key for key in figure["layout"] if re.fullmatch(r"[xy]axis\d*", key)]


def name_axis(axis: dict[str, Any], text: str) -> None:
    """Write under, or beside, an axis what it shows."""
    axis["title"] = {"text": html.escape(text, quote=False), "font": {"color": SOFT, "size": 12}, "standoff": 8}


def objective_axis(axis: dict[str, Any], objective: str, values: Iterable[float], has_name: bool = True) -> None:
    """Make an axis that of an objective; errors are on a logarithmic scale where none is zero."""
    name_axis(axis, objective_name(objective) if has_name else "")
    axis |= {"ticksuffix": UNITS.get(objective, ""), "tickformat": ",d" if objective == "parameters" else ".3~g"}
    seen = list(values)
    if objective == MEASURE and min(seen) > 0:
        axis |= {"type": "log", "nticks": 7}
        low, high = min(seen), max(seen)
        if high / low >= FEW_ERROR_TICKS:  # Plotly writes no unit beside 2 and 5
            axis["tickvals"] = log_ticks(low, high, TICK_GAP)
            axis["ticktext"] = [f"{tick:g}{UNITS[MEASURE]}" for tick in axis["tickvals"]]
        elif low == high:  # or the axis would span a factor of a hundred
            axis["range"] = [math.log10(low / NEARBY), math.log10(high * NEARBY)]


def field_axis(axis: dict[str, Any], values: Sequence[float]) -> None:
    """Give the axis of a field with a range round numbers that do not run into each other."""
    is_log = axis.get("type") == "log"
    is_whole = all(isinstance(value, int) for value in values)
    found = ticks(values, is_log, is_whole)
    axis["tickvals"] = found[:: -(-len(found) // MAX_TICKS)]
    axis["ticktext"] = [f"{tick:.4g}" for tick in axis["tickvals"]]


def whole_axis(axis: dict[str, Any], values: Sequence[int]) -> None:
    """Give an axis of whole numbers, such as epochs, ticks at some of them."""
    # Left to itself, Plotly puts ticks between two whole numbers that are far apart.
    axis |= {"tickformat": "d"} | ({"dtick": 1} if max(values) - min(values) <= MAX_TICKS else {"nticks": MAX_TICKS})


def shade(colour: str) -> str:
    """Return an `rgb(…)` a little darker."""
    parts = [float(part) for part in re.findall(r"[\d.]+", colour)]
    return f"rgb({', '.join(f'{SHADE * part:.0f}' for part in parts)})"


def shade_scale(marker: dict[str, Any]) -> None:
    """Darken a marker's scale of colours."""
    marker["colorscale"] = [[place, shade(colour)] for place, colour in marker["colorscale"]]


def in_rows(figure: Figure, panels: int) -> None:
    """Set panels that stand side by side in rows of a few, each row with its own axis labels."""
    columns, layout = min(COLUMNS, panels), figure["layout"]
    rows = -(-panels // columns)
    height = rows * ROW_HEIGHT + (rows - 1) * GAP_Y
    width = (1 - GAP_X * (columns - 1)) / columns
    for number in range(panels):
        row, column = divmod(number, columns)
        suffix = "" if number == 0 else str(number + 1)
        left, top = column * (width + GAP_X), 1 - row * (ROW_HEIGHT + GAP_Y) / height
        layout[f"xaxis{suffix}"]["domain"] = [left, left + width]
        layout[f"yaxis{suffix}"] |= {"domain": [max(0.0, top - ROW_HEIGHT / height), top], "showticklabels": not column}
    layout["height"] = height + LAYOUT["margin"]["t"] + LAYOUT["margin"]["b"]


def told(one: TrialRecord | None) -> str:
    """Return what is shown of a trial where one points at it; of one that ended a moment ago nothing is known yet."""
    if one is None:
        return ""
    state = "" if one.state == "COMPLETE" else one.state.lower()
    values = [objective_text(name, value) for name, value in one.values.items()]
    head = " ".join(filter(None, [f"<b>trial {one.number}</b>", state, *values]))
    # Plotly knows a little HTML: what is no markup must not become it.
    fields = [f"{html.escape(name)} = {html.escape(value_text(value))}" for name, value in one.assignment.items()]
    return "<br>".join([head, *fields])


def mark(trace: Figure, kind: str, trials: Sequence[TrialRecord | None]) -> None:
    """Show a trace's points as trials of a kind, each of which tells its values where one points at it."""
    trace["text"] = list(map(told, trials))
    line = {"width": 1.5, "color": COLOURS[kind]}
    marker = {"color": COLOURS[kind], "symbol": SYMBOLS[kind], "size": 8, "line": line}
    trace |= {"mode": "markers", "hovertemplate": HOVER, "marker": marker, "name": kind, "showlegend": True}
