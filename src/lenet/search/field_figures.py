"""Figures whose axes are fields: what the good trials have in common, and which fields matter."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lenet.evaluation.plots.style import BLUE
from lenet.search.dress import (
    HOVER,
    LAYOUT,
    NO_TRIAL,
    Chart,
    axes_of,
    field_axis,
    in_rows,
    name_axis,
    objective_axis,
    plain,
    shade,
    shade_scale,
    told,
)
from lenet.search.importance import error_of, evaluator, importance
from lenet.search.objective import MEASURE
from lenet.search.parameter import Scalar
from lenet.search.plots.labels import field_lines, objective_name, percent, value_text
from lenet.search.trial_records import TrialRecord

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

BAR_HEIGHT = 32


def _complete(study: Study) -> list[FrozenTrial]:
    """Return the trials that Optuna draws."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state.name == "COMPLETE" and all(map(math.isfinite, trial.values))]


def _fields(trials: Sequence[FrozenTrial]) -> list[str]:
    return sorted({name for trial in trials for name in trial.params})


def parallel(study: Study, objectives: Sequence[str]) -> Chart:
    """Return every complete trial as a line through its values."""
    from optuna.visualization import plot_parallel_coordinate

    heading, usable = "Where the good trials are", _complete(study)
    fields = _fields(usable)
    if not fields:
        return Chart(heading, NO_TRIAL)
    target = error_of if len(objectives) == 1 else None  # with two, Optuna's colour is the trials' rank
    figure = plain(plot_parallel_coordinate(study, target=target, target_name=MEASURE))
    names = [*objectives, *fields]
    figure["data"] = [trace for trace in figure["data"] if "colorscale" not in trace.get("marker", {})]
    for trace in figure["data"]:
        if "customdata" in trace:
            texts = [text for _, text in trace["customdata"]]
            trace["customdata"] = [[html.escape(name), text] for name, text in zip(names, texts, strict=True)]
            trace["line"] |= {"color": shade(trace["line"]["color"]), "width": 1.8}
            trace["opacity"] = 0.85
    labels = [objective_name(name).split() for name in objectives] + [field_lines(name) for name in fields]
    figure["layout"]["xaxis"]["ticktext"] = ["<br>".join(map(html.escape, lines)) for lines in labels]
    figure["layout"]["xaxis"] |= {"tickangle": 0, "showline": False}
    for text in figure["layout"]["annotations"]:  # a number stays legible where lines cross it
        text |= {"bgcolor": "rgba(255,255,255,0.8)", "borderpad": 1, "text": _number(html.escape(text["text"]))}
    figure["layout"]["showlegend"] = any(limit > 0 for trial in usable for limit in trial.constraints.values())
    near = "the lower its error" if len(objectives) == 1 else "the nearer to the front"
    return Chart(heading, f"Each line is a complete trial; the darker, {near}.", figure)


def _number(text: str) -> str:
    return f"{float(text):,.0f}" if re.fullmatch(r"[\d.]+e\+\d+", text) else text


def _choices(study: Study) -> list[Scalar]:
    distributions = [each for trial in study.get_trials(deepcopy=False) for each in trial.distributions.values()]
    return [choice for each in distributions for choice in getattr(each, "choices", ())]


def slices(study: Study, found: Sequence[TrialRecord]) -> Chart:
    """Return the validation error over each field."""
    from optuna.visualization import plot_slice

    heading, usable = "Each field by itself", _complete(study)
    fields = _fields(usable)
    if not fields:
        return Chart(heading, NO_TRIAL)
    trials = {one.number: one for one in found}
    figure = plain(plot_slice(study, target=error_of, target_name=MEASURE))
    in_rows(figure, len(fields))
    for trace in figure["data"]:
        marker = trace["marker"]
        if "colorscale" in marker:
            shade_scale(marker)
            trace |= {"hovertemplate": HOVER, "text": list(map(told, map(trials.get, marker["color"])))}
            marker |= {"size": 8, "showscale": False, "cmin": 0, "cmax": usable[-1].number or 1}
    written = {repr(choice): value_text(choice) for choice in _choices(study)}
    values: dict[str, list[Any]] = {}
    for trace in figure["data"]:
        values.setdefault(trace.get("xaxis", "x").replace("x", "xaxis"), []).extend(trace["x"])
    for key in axes_of(figure):
        axis = figure["layout"][key]
        if key.startswith("y"):
            objective_axis(axis, MEASURE, map(error_of, usable), has_name=False)
            continue
        name_axis(axis, axis["title"]["text"])
        if axis.get("type") == "category":
            shown = axis["categoryarray"]
            axis |= {"tickvals": shown, "ticktext": [html.escape(written.get(choice, choice)) for choice in shown]}
            axis |= {"range": [-0.5, len(shown) - 0.5]}
        elif values[key]:
            field_axis(axis, values[key])
    return Chart(
        heading, "Each dot is a complete trial: its validation error over its value; the darker, the later.", figure
    )


def share(study: Study) -> Chart:
    """Return how much each field tells the best trials from the others."""
    from optuna.visualization import plot_param_importances

    heading, known = "Which fields matter", importance(study)
    if not known.shares:
        return Chart(heading, known.reason)
    tells = evaluator(known.trials)
    figure = plain(plot_param_importances(study, tells, sorted(known.shares), target=error_of, target_name=MEASURE))
    bars = figure["data"][0]
    bars |= {"marker": {"color": BLUE}, "text": [percent(part) for part in bars["x"]], "hoverinfo": "skip"}
    del bars["hovertemplate"]
    for key in ("xaxis", "yaxis"):
        name_axis(figure["layout"][key], "")
        figure["layout"][key] |= {"automargin": True, "showgrid": False}
    figure["layout"]["xaxis"]["showticklabels"] = False
    figure["layout"] |= {"height": 40 + BAR_HEIGHT * len(known.shares), "margin": LAYOUT["margin"] | {"t": 20, "b": 20}}
    text = f"Share of each field in what sets the best of {known.trials} complete trials apart (PED-ANOVA)."
    return Chart(heading, text, figure)
