"""Draw a search: history, learning curves, parallel coordinates, importances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.evaluation.plots import style
from lenet.evaluation.plots.style import BLUE, INK, ORANGE
from lenet.search.importance import importances
from lenet.search.plots.parallel import draw_parallel
from lenet.search.search_space import Space
from lenet.search.trial_records import TrialRecord, best_so_far, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna import Study

HISTORY, IMPORTANCE, PARALLEL, LEARNING = PICTURES = tuple(
    f"{name}.png" for name in ("history", "importance", "parallel", "learning")
)
MAX_BARS, NAME_CHARACTERS = 20, 40
TOP = 0.97  # height in the panel at which a trial without any error is marked
MARKS: dict[str, dict[str, Any]] = {
    "pruned": {"marker": "v", "color": "#9aa3af", "markersize": 5, "markerfacecolor": "none"},
    "failed": {"marker": "x", "color": INK, "markersize": 6, "markeredgewidth": 1.6},
    "over a limit": {"marker": "s", "color": "#CC79A7", "markersize": 5, "markerfacecolor": "none"},
    "complete": {"marker": "o", "color": BLUE, "markersize": 5.5},
}
"""How the trials of each kind are marked, in the order of drawing."""


def draw_search(study: Study, records: Sequence[TrialRecord], space: Space, folder: Path) -> list[Path]:
    """Draw the pictures that the trials allow, and return their paths.

    Args:
        study: a snapshot of the study.
        records: its trials, by number.
        space: its parameters.
        folder: the folder of the PNGs.
    """
    drawn = {}
    if any(_kind(one) for one in records):
        drawn[HISTORY] = _history(records)
    if complete := _complete(records):
        drawn[PARALLEL] = draw_parallel(complete, records, space)
    if any(_curve(one) for one in records):
        drawn[LEARNING] = _learning(records)
    if shares := importances(study):
        drawn[IMPORTANCE] = _importances(shares, len(complete))
    for name, figure in drawn.items():
        style.save(figure, folder / name)
    return [folder / name for name in drawn]


def _kind(one: TrialRecord) -> str | None:
    """Return the key of MARKS for a trial that has ended."""
    ended = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(one.state)
    return "over a limit" if ended in {"complete", "pruned"} and not one.is_feasible else ended


def _by_kind(records: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    kinds = {kind: [one for one in records if _kind(one) == kind] for kind in MARKS}
    return {kind: trials for kind, trials in kinds.items() if trials}


def _complete(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [one for one in records if one.values and all(map(math.isfinite, one.values.values()))]


def _curve(one: TrialRecord) -> list[tuple[int, float]]:
    return [(epoch, error) for epoch, error in sorted(one.reports.items()) if math.isfinite(error)]


def _last_error(one: TrialRecord) -> float | None:
    """Return a trial's error, or, of one without, that of its last epoch."""
    known = [one.error] if one.values else [error for _, error in _curve(one)]
    return known[-1] if known and math.isfinite(known[-1]) else None


def _legend(axes: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    style.legend(axes, handles[::-1], names[::-1], loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)


def _history(records: Sequence[TrialRecord]) -> Any:
    """Return each trial's validation error by number (of a pruned one, the last), and the best so far."""
    figure = style.figure(8.6, 3.6, "")
    axes = figure.subplots()
    handles: list[Any] = []
    names: list[str] = []
    errors: list[float] = []
    for kind, trials in _by_kind(records).items():
        known = {one.number: error for one in trials if (error := _last_error(one)) is not None}
        unknown = [one.number for one in trials if one.number not in known]
        mark = MARKS[kind] | {"linestyle": "none"}
        handles += axes.plot(list(known), list(known.values()), **mark)
        axes.plot(unknown, [TOP] * len(unknown), transform=axes.get_xaxis_transform(), **mark)
        names.append(f"{kind} ({len(trials)}" + (", last epoch)" if kind == "pruned" else ")"))
        errors += known.values()
    steps = [row for row in best_so_far(records) if math.isfinite(row[1])]
    if steps:
        numbers, lowest = [row[0] for row in steps], [row[1] for row in steps]
        handles += axes.step(numbers, lowest, where="post", color=ORANGE, linewidth=1.8, zorder=1.5)
        names.append("best so far")
    best = next(iter(ranked(records)), None)
    shown = f": best {best.error:.2f} %, trial {best.number}" if best else ""
    style.style(axes, f"Validation error of each trial{shown}", "trial")
    style.scale(axes, errors, " %")
    axes.margins(y=0.09)
    if not errors:
        axes.set_yticks([])
    style.epoch_axis(axes, [one.number for one in records if _kind(one)])
    _legend(axes, handles, names)
    return figure


def _learning(records: Sequence[TrialRecord]) -> Any:
    """Return each trial's validation error by epoch, the best in orange."""
    figure = style.figure(8.6, 3.6, "")
    axes = figure.subplots()
    best = next(iter(ranked(records)), None)
    lines = [(kind, one) for kind, trials in _by_kind(records).items() for one in trials if one is not best]
    lines += [("best", best)] if best else []
    handles: dict[str, Any] = {}
    seen: list[tuple[int, float]] = []
    for kind, one in lines:
        if not (curve := _curve(one)):
            continue
        look = MARKS["complete" if kind == "best" else kind] | {"linewidth": 1.1, "alpha": 0.75, "markevery": [-1]}
        if kind == "best":
            look |= {"color": ORANGE, "linewidth": 2.4, "alpha": 1.0, "zorder": 4}
        (handles[kind],) = axes.plot(*zip(*curve, strict=True), **look)
        seen += curve
    style.style(axes, "Validation error of each trial after each epoch", "epoch")
    style.scale(axes, [error for _, error in seen], " %")
    style.epoch_axis(axes, [epoch for epoch, _ in seen])
    _legend(
        axes, list(handles.values()), [f"best: trial {best.number}" if n == "best" and best else n for n in handles]
    )
    return figure


def _importances(shares: dict[str, float], trials: int) -> Any:
    shares = dict(list(shares.items())[:MAX_BARS])
    figure = style.figure(7.6, 0.8 + 0.31 * max(len(shares), 3), "")
    axes = figure.subplots()
    bars = axes.barh(range(len(shares)), list(shares.values()), height=0.62, color=BLUE)
    axes.bar_label(bars, [f"{100 * share:.0f} %" for share in shares.values()], padding=4, fontsize=8.5, color=INK)
    style.style(axes, f"Importance of the parameters by PED-ANOVA, {trials} complete trials")
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks(range(len(shares)), [style.clean(name, NAME_CHARACTERS) for name in shares], parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(shares) - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(shares.values()))
    axes.spines["bottom"].set_visible(False)
    return figure
