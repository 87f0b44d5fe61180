"""The interactive page of a search: Optuna's plotly figures in one HTML file that opens offline."""

from __future__ import annotations

import base64
import html
import json
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.core.atomic_io import write_text
from lenet.core.rounding import rounded
from lenet.search.importance import error_of, evaluator, importances
from lenet.search.spec import override_value
from lenet.search.trial_records import TrialRecord, count, ranked

if TYPE_CHECKING:
    from optuna import Study

ERROR_AXIS = "validation error, %"
HEIGHT = 480  # pixels of a figure
LAYOUT = {"template": "plotly_white", "title": None, "margin": {"t": 30}}
POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'"
TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>
body {{ margin: 2rem auto; padding: 0 1rem; max-width: 72rem; font: 1rem/1.5 system-ui, sans-serif; }}
.figure {{ overflow-x: auto; }}
pre {{ padding: .6rem .8rem; background: #f5f6f8; white-space: pre-wrap; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_page(
    study: Study, records: Sequence[TrialRecord], objectives: Sequence[str], command: str | None, path: Path
) -> None:
    """Write the page of a search; the browser may run its scripts alone, and fetch nothing.

    Args:
        study: a snapshot of the study.
        records: its trials.
        objectives: val/error, or val/error and another.
        command: trains the best trial's run; None where there is no best.
        path: the page.
    """
    from plotly.io import to_html
    from plotly.offline import get_plotlyjs

    counts, best = count(records), next(iter(ranked(records)), None)
    parts = [
        f"<p>{counts.ended} trials: {counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed.</p>"
    ]
    if best is not None:
        values = "\n".join(f"{name}={override_value(value)}" for name, value in best.assignment.items())
        parts += [f"<h2>Best: {best.error:.2f} % validation error, trial {best.number}</h2>"]
        parts += [f"<pre>{html.escape(text)}</pre>" for text in (values, command) if text]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arguments that Optuna calls experimental
        for number, (heading, figure) in enumerate(_figures(study, records, objectives)):
            figure.update_layout(**LAYOUT, height=figure.layout.height or HEIGHT)
            drawn = to_html(
                rounded(json.loads(figure.to_json())),
                full_html=False,
                include_plotlyjs=False,
                config={"displaylogo": False},
                div_id=f"figure-{number}",  # by default a random one, which would make each page another
            )
            if "<script>" not in "".join(parts):
                drawn = f"<script>{get_plotlyjs()}</script>\n{drawn}"
            parts.append(f'<h2>{heading}</h2>\n<div class="figure">{drawn}</div>')
    body = "\n".join(parts)
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", body, re.DOTALL)
    digests = [base64.b64encode(sha256(script.encode()).digest()).decode("ascii") for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    title = html.escape(f"Search {study.study_name}")
    write_text(path, TEMPLATE.format(policy=f"{POLICY}; script-src {allowed}", title=title, body=body))


def _figures(study: Study, records: Sequence[TrialRecord], objectives: Sequence[str]) -> Iterator[tuple[str, Any]]:
    from optuna import visualization

    # Of one objective Optuna draws the best value so far, which it leaves out where a target is given.
    target: dict[str, Any] = {"target": error_of if len(objectives) > 1 else None, "target_name": ERROR_AXIS}
    complete = [one for one in records if one.values and all(map(math.isfinite, one.values.values()))]
    if complete:
        yield "History", visualization.plot_optimization_history(study, **target)
        if len(objectives) > 1:
            yield "Pareto front", visualization.plot_pareto_front(study, target_names=list(objectives))
        yield "Parallel coordinates", visualization.plot_parallel_coordinate(study, **target)
        yield "Each parameter", visualization.plot_slice(study, **target)
    if found := importances(study):
        measured = evaluator(len(complete))
        yield (
            "Importance of the parameters",
            visualization.plot_param_importances(
                study, evaluator=measured, params=list(found), **target | {"target": error_of}
            ),
        )
    if any(math.isfinite(error) for one in records for error in one.reports.values()):
        curves = visualization.plot_intermediate_values(study)
        yield "Learning curves", curves.update_layout(xaxis_title="epoch", yaxis_title=ERROR_AXIS)
