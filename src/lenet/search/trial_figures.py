"""Figures whose points are trials: by number, by epoch, by what they cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lenet.evaluation.plots.style import ORANGE
from lenet.search.dress import (
    COLOURS,
    HOVER,
    LEGEND,
    NO_TRIAL,
    Chart,
    Figure,
    mark,
    name_axis,
    objective_axis,
    plain,
    told,
    whole_axis,
)
from lenet.search.importance import error_of
from lenet.search.objective import MEASURE
from lenet.search.plots.history import best_of, complete, kind_of, last_error
from lenet.search.results import best_so_far
from lenet.search.trial_records import TrialRecord

if TYPE_CHECKING:
    from optuna import Study


def every_trial(study: Study, found: Sequence[TrialRecord]) -> Chart:
    """Return each trial's validation error by its number, with the best so far."""
    from optuna.visualization import plot_optimization_history

    heading = "Every trial"
    errors = {one.number: error for one in found if kind_of(one) and (error := last_error(one)) is not None}
    if not errors:
        return Chart(heading, "No trial has an error yet.")
    trials = {one.number: one for one in found}
    figure = plain(plot_optimization_history(study, target=error_of, target_name=MEASURE))
    figure["data"] = [trace for trace in figure["data"] if trace["x"]]
    for trace in figure["data"]:
        mark(
            trace,
            "over a limit" if trace["name"] == "Infeasible Trial" else "complete",
            list(map(trials.get, trace["x"])),
        )
    early = [one for one in found if one.number in errors and not one.values]
    if early:
        trace = {"type": "scatter", "x": [one.number for one in early], "y": [errors[one.number] for one in early]}
        mark(trace, "pruned", early)
        figure["data"].insert(0, trace | {"name": "ended early: its last"})
    steps = [row for row in best_so_far(found) if math.isfinite(row[1])]
    if steps:
        line: Figure = {"type": "scatter", "mode": "lines", "name": "best so far", "hoverinfo": "skip"}
        line |= {"x": [row[0] for row in steps], "y": [row[1] for row in steps]}
        figure["data"].insert(0, line | {"line": {"color": ORANGE, "shape": "hv", "width": 2.4}})
    name_axis(figure["layout"]["xaxis"], "trial")
    whole_axis(figure["layout"]["xaxis"], list(errors))
    objective_axis(figure["layout"]["yaxis"], MEASURE, errors.values())
    figure["layout"] |= LEGEND
    return Chart(heading, "Point at a trial to see its values; drag to look closer, double click to go back.", figure)


def epochs(study: Study, found: Sequence[TrialRecord]) -> Chart:
    """Return each trial's validation error by epoch."""
    from optuna.visualization import plot_intermediate_values

    heading = "How the trials learned"
    told_errors = [error for one in found for error in one.reports.values() if math.isfinite(error)]
    if not told_errors:
        return Chart(heading, "No trial has told its epochs; only where a pruner may end trials are they told.")
    trials = {f"Trial{one.number}": one for one in found}
    best = best_of(found)
    figure = plain(plot_intermediate_values(study))
    for trace in figure["data"]:
        one = trials.get(trace["name"])
        kind = (one and kind_of(one)) or "pruned"
        is_best = one is not None and one is best
        trace["line"] = {"color": ORANGE if is_best else COLOURS[kind], "width": 3 if is_best else 1.4}
        trace |= {"marker": {"size": 6}, "opacity": 1 if is_best else 0.7, "hovertemplate": HOVER}
        trace["text"] = [told(one)] * len(trace["x"])
    figure["data"].sort(key=lambda trace: trace["line"]["width"])  # the best is drawn over the others
    name_axis(figure["layout"]["xaxis"], "epoch")
    whole_axis(figure["layout"]["xaxis"], [epoch for one in found for epoch in one.reports])
    objective_axis(figure["layout"]["yaxis"], MEASURE, told_errors)
    return Chart(heading, "Blue: complete. Orange: the best. Grey: ended early.", figure)


def pareto(study: Study, found: Sequence[TrialRecord], objectives: Sequence[str]) -> Chart:
    """Return the validation error over the other objective, with the trials that no other beats in both."""
    from optuna.visualization import plot_pareto_front

    heading = "What a lower error costs"
    usable = complete(found)
    if not usable:
        return Chart(heading, NO_TRIAL)
    error, cost = objectives
    figure = plain(
        plot_pareto_front(study, target_names=[cost, error], targets=lambda trial: (trial.values[1], trial.values[0]))
    )
    trials = {(one.values[cost], one.values[error]): one for one in usable}
    figure["data"] = [trace for trace in figure["data"] if trace["x"]]
    for trace in figure["data"]:
        is_front, is_over = "Best" in trace["hovertemplate"], "Infeasible" in trace["hovertemplate"]
        points = zip(trace["x"], trace["y"], strict=True)
        mark(trace, "over a limit" if is_over else "complete", list(map(trials.get, points)))
        if is_front:
            trace["name"] = "front"
            trace["marker"] |= {"color": ORANGE, "size": 11, "line": {"width": 0}}
    for key, name in (("xaxis", cost), ("yaxis", error)):
        objective_axis(figure["layout"][key], name, [one.values[name] for one in usable])
    figure["layout"] |= LEGEND
    return Chart(heading, "Orange: no other trial is better in one without being worse in the other.", figure)
