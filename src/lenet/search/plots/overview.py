"""What a search looks like: PNGs of its trials, each of which explains itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.evaluation.plots import style as canvas
from lenet.evaluation.plots.style import BLUE, INK, ORANGE
from lenet.search.importance import Importance, importance
from lenet.search.objective import MEASURE
from lenet.search.parameter import Space
from lenet.search.plots.history import LOOKS, beside, by_kind, complete, history, learning
from lenet.search.plots.labels import UNITS, objective_name, percent
from lenet.search.plots.parallel import parallel_coordinates
from lenet.search.trial_records import TrialRecord, pareto_front

if TYPE_CHECKING:
    from optuna import Study

HISTORY, IMPORTANCE, PARALLEL, LEARNING, FRONT = (
    f"{name}.png" for name in ("history", "importance", "parallel", "learning", "front")
)
PICTURES = (HISTORY, IMPORTANCE, PARALLEL, LEARNING, FRONT)
"""All that there can be."""

MAX_FIELDS = 20  # bars: what comes after does not matter
NAME_CHARACTERS = 40
OFFSET: dict[str, Any] = {"textcoords": "offset points", "size": 8.5, "color": INK}
MAX_NAMED = 12  # trials of a front that are named: more names would run into each other


def draw_search(
    study: Study, found: Sequence[TrialRecord], space: Space, objectives: Sequence[str], folder: Path
) -> list[Path]:
    """Draw a search's pictures and return where they are; what cannot be drawn yet is a sentence in its place.

    That of the fields' importance is left out while there are too few complete trials to tell it.

    Args:
        study: the study, for its name and its fields' importance.
        found: its trials, by number.
        space: its fields.
        objectives: val/error, or val/error and another; the Pareto front is drawn where there are two.
        folder: where the PNGs are put.
    """
    name = study.study_name
    history(found, folder / HISTORY, f"{name}: every trial")
    parallel_coordinates(found, space, folder / PARALLEL, f"{name}: where the good trials are")
    learning(found, folder / LEARNING, f"{name}: how the trials learned")
    drawn = [HISTORY, PARALLEL, LEARNING]
    known = importance(study)
    if known.shares:
        importances(known, folder / IMPORTANCE, f"{name}: which fields matter")
        drawn.append(IMPORTANCE)
    if len(objectives) > 1:
        front(found, objectives[1], folder / FRONT, f"{name}: what a lower error costs")
        drawn.append(FRONT)
    return [folder / picture for picture in PICTURES if picture in drawn]


def importances(found: Importance, path: Path, title: str) -> None:
    """Draw how much each field tells the best trials from the others.

    Args:
        found: the fields' shares, one at the least.
        path: the PNG.
        title: any text.
    """
    shares = dict(list(found.shares.items())[:MAX_FIELDS])
    figure = canvas.figure(7.6, 1.1 + 0.31 * max(len(shares), 3), title)
    axes = figure.subplots()
    axes.barh(range(len(shares)), list(shares.values()), height=0.62, color=BLUE)
    for place, share in enumerate(shares.values()):
        axes.annotate(percent(share), (share, place), (4, 0), **OFFSET, va="center")
    canvas.style(axes, f"What sets the best of {found.trials} complete trials apart (PED-ANOVA)")
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks(range(len(shares)), [canvas.clean(name, NAME_CHARACTERS) for name in shares], parse_math=False)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_ylim(len(shares) - 0.4, -0.6)
    axes.set_xlim(0, 1.1 * max(shares.values()))
    axes.spines["bottom"].set_visible(False)
    return canvas.save(figure, path)


def front(found: Sequence[TrialRecord], cost: str, path: Path, title: str) -> None:
    """Draw the validation error over the other objective, and the trials that no other beats in both.

    Args:
        found: the trials.
        cost: the other objective.
        path: the PNG.
        title: any text.
    """
    figure = canvas.figure(8.6, 4.4, title)
    axes = figure.subplots()
    measured = complete(found)
    if not measured:
        canvas.sentence(axes, "No trial is complete yet.")
        return canvas.save(figure, path)
    handles, names = [], []
    for kind, trials in by_kind(measured).items():
        xs, ys = [one.values[cost] for one in trials], [one.error for one in trials]
        handles += axes.plot(xs, ys, **(LOOKS[kind] | {"linestyle": "none", "alpha": 0.75}))
        names.append(f"{kind} ({len(trials)})")
    unbeaten = sorted(pareto_front(measured), key=lambda one: one.values[cost])
    if unbeaten:
        xs, ys = [one.values[cost] for one in unbeaten], [one.error for one in unbeaten]
        look: dict[str, Any] = {"markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.8, "zorder": 4}
        handles += axes.step(xs, ys, "-o", where="post", color=ORANGE, linewidth=1.6, **look)
        names.append(f"front ({len(unbeaten)})")
    named: dict[tuple[float, float], list[str]] = {}
    for one in unbeaten:
        named.setdefault((one.values[cost], one.error), []).append(str(one.number))
    for point, numbers in list(named.items())[:: max(1, -(-len(named) // MAX_NAMED))]:
        axes.annotate(", ".join(numbers), point, (7, 5), **OFFSET)
    heading = "Front, by trial number: no other is better in one without being worse in the other"
    canvas.style(axes, heading, objective_name(cost), objective_name(MEASURE))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}{UNITS.get(cost, '')}")
    canvas.scale(axes, [one.error for one in measured], " %")
    beside(axes, handles, names)
    return canvas.save(figure, path)
