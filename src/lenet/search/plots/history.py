"""A search by its trials, and its trials by their epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import BLUE, INK, ORANGE
from lenet.search.results import best_so_far
from lenet.search.trial_records import TrialRecord, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREY, PINK = "#9aa3af", "#CC79A7"
RIM = 0.97  # height within the panel at which a trial without any error is marked

LOOKS: dict[str, dict[str, Any]] = {
    "pruned": {"marker": "v", "color": GREY, "markersize": 5, "markerfacecolor": "none"},
    "failed": {"marker": "x", "color": INK, "markersize": 6, "markeredgewidth": 1.6},
    "over a limit": {"marker": "s", "color": PINK, "markersize": 5, "markerfacecolor": "none"},
    "complete": {"marker": "o", "color": BLUE, "markersize": 5.5},
}
"""How the trials of each kind are marked, in the order in which they are drawn."""


def kind_of(one: TrialRecord) -> str | None:
    """Return what kind of a trial it is, a key of LOOKS; None where it has not ended."""
    ended = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(one.state)
    return "over a limit" if ended and ended != "failed" and not one.is_feasible else ended


def by_kind(found: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """Return the trials that have ended, by kind, in the order of LOOKS; kinds that there are none of are left out."""
    kinds = {kind: [one for one in found if kind_of(one) == kind] for kind in LOOKS}
    return {kind: trials for kind, trials in kinds.items() if trials}


def best_of(found: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the trial of the lowest error, if there is any within the limits."""
    return next((one for one in ranked(found) if math.isfinite(one.error)), None)


def complete(found: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that have every value, within the limits or not."""
    return [one for one in found if one.values and all(map(math.isfinite, one.values.values()))]


def last_error(one: TrialRecord) -> float | None:
    """Return a trial's error, or, of one that was ended early, the error after its last epoch; None without any."""
    known = [one.error] if one.values else [error for _, error in sorted(one.reports.items())]
    finite = [error for error in known if math.isfinite(error)]
    return finite[-1] if finite else None


def beside(axes: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    """Explain the handles to the right of a panel."""
    if handles:
        canvas.legend(axes, handles, names, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def ring(axes: Axes, x: float, y: float) -> None:
    """Put a ring around the best trial."""
    axes.plot([x], [y], "o", markersize=11, markerfacecolor="none", markeredgecolor=ORANGE, markeredgewidth=1.8)


def history(found: Sequence[TrialRecord], path: Path, title: str) -> None:
    """Draw each trial's validation error by its number, of one that was ended early the last, and the best so far.

    Args:
        found: the trials, by number.
        path: the PNG.
        title: any text.
    """
    figure = canvas.figure(8.6, 3.9, title)
    axes = figure.subplots()
    kinds = by_kind(found)
    if not kinds:
        canvas.sentence(axes, "No trial has ended yet.")
        return canvas.save(figure, path)
    handles, names, seen, is_on_rim = [], [], [], False
    for kind, trials in kinds.items():
        known = [(one.number, error) for one in trials if (error := last_error(one)) is not None]
        unknown = [one.number for one in trials if last_error(one) is None]
        look = LOOKS[kind] | {"linestyle": "none"}
        handles += axes.plot([number for number, _ in known], [error for _, error in known], **look)
        axes.plot(unknown, [RIM] * len(unknown), transform=axes.get_xaxis_transform(), **look)
        names.append(f"{kind} ({len(trials)})" + (": its last" if kind == "pruned" else ""))
        seen += [error for _, error in known]
        is_on_rim = is_on_rim or bool(unknown)
    steps = [row for row in best_so_far(found) if math.isfinite(row[1])]
    if steps:
        numbers, errors = [row[0] for row in steps], [row[1] for row in steps]
        handles += axes.step(numbers, errors, where="post", color=ORANGE, linewidth=1.8, zorder=1.5)
        names.append("best so far")
    best = best_of(found)
    if best is not None:
        ring(axes, best.number, best.error)
    shown = f": best {best.error:.2f} %, trial {best.number}" if best else ": no complete trial within the limits"
    rim = "   Upper edge: ended without any" if is_on_rim else ""
    canvas.style(axes, f"Validation error{shown}{rim}", "trial")
    canvas.scale(axes, seen, " %")
    axes.margins(y=0.09)
    if not seen:
        axes.set_yticks([])
    canvas.epoch_axis(axes, [one.number for trials in kinds.values() for one in trials])
    beside(axes, handles[::-1], names[::-1])
    return canvas.save(figure, path)


def learning(found: Sequence[TrialRecord], path: Path, title: str) -> None:
    """Draw each trial's validation error by epoch; those that were ended early are grey.

    Args:
        found: the trials, by number.
        path: the PNG.
        title: any text.
    """
    figure = canvas.figure(8.6, 3.9, title)
    axes = figure.subplots()
    best = best_of(found)
    handles: list[Any] = []
    names, seen, reached = [], [], []
    for kind, trials in by_kind(found).items():
        lines = [line for one in trials if one is not best and (line := _told(one))]
        handles += [_draw_line(axes, line, kind, is_best=False) for line in lines][:1]
        names += [f"{kind} ({len(trials)})"] if lines else []
        seen += [error for line in lines for _, error in line]
        reached += [epoch for line in lines for epoch, _ in line]
    if best is not None and (line := _told(best)):
        handles.append(_draw_line(axes, line, "complete", is_best=True))
        names.append(f"best: trial {best.number}")
        seen += [error for _, error in line]
        reached += [epoch for epoch, _ in line]
    if not seen:
        canvas.sentence(axes, "No trial has told its epochs; only where a pruner may end trials are they told.")
        return canvas.save(figure, path)
    canvas.style(axes, "Validation error after each epoch", "epoch")
    canvas.scale(axes, seen, " %")
    canvas.epoch_axis(axes, reached)
    beside(axes, handles[::-1], names[::-1])
    return canvas.save(figure, path)


def _told(one: TrialRecord) -> list[tuple[int, float]]:
    return [(epoch, error) for epoch, error in sorted(one.reports.items()) if math.isfinite(error)]


def _draw_line(axes: Axes, line: Sequence[tuple[int, float]], kind: str, is_best: bool) -> Any:
    epochs, errors = zip(*line, strict=True)
    width, opacity, order = (2.4, 1.0, 4) if is_best else (1.1, 0.75, 2)
    look = LOOKS[kind] | {"linewidth": width, "alpha": opacity, "zorder": order, "markevery": [-1]}
    return axes.plot(epochs, errors, **(look | {"color": ORANGE} if is_best else look))[0]
