"""One page about a search that opens offline: its best trials as a table, and figures to look into."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.core.atomic_io import write_text
from lenet.report.document import Section, Table, page
from lenet.report.page_style import POLICY
from lenet.search.figures import draw_figures
from lenet.search.plots.labels import objective_name, objective_text, value_text
from lenet.search.trial_records import TrialRecord, ranked

if TYPE_CHECKING:
    from optuna import Study

SHOWN_TRIALS = 10
RUN_CHARACTERS = 8
"""Of a run's fingerprint, which is the name of its folder: enough to find it."""

RECIPE = "python train.py experiment=searched"

STYLE = """
body { max-width: 72rem; }
.chart { margin: 1rem 0 1.4rem; background: #ffffff; border: 1px solid var(--line); border-radius: 6px;
  overflow-x: auto; }
.chart > div { min-width: 44rem; }
th, td { text-align: right; white-space: nowrap; padding: .3rem .5rem; }
table { font-size: .8125rem; }
th:first-child, td:first-child { text-align: left; }
#part-2 p:nth-of-type(even) { max-width: none; padding: .6rem .8rem; background: var(--band); border-radius: 6px;
  font: .875rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
@media print { .chart { break-inside: avoid; } }
"""

SCRIPT = """
for (const held of document.querySelectorAll('script[type="application/json"]')) {
  const frame = document.createElement("div");
  const chart = document.createElement("div");
  frame.className = "chart";
  frame.append(chart);
  document.getElementById(held.dataset.part).append(frame);
  const { data, layout } = JSON.parse(held.textContent);
  const removed = ["lasso2d", "select2d", "autoScale2d"];
  Plotly.newPlot(chart, data, layout, { responsive: true, displaylogo: false, modeBarButtonsToRemove: removed });
}
"""


def write_search_page(
    study: Study, found: Sequence[TrialRecord], summary: Mapping[str, Any], path: Path, command: str = ""
) -> None:
    """Write the page of a search; it holds all that it shows, and a browser is told to fetch nothing.

    Args:
        study: the study.
        found: its trials, by number.
        summary: the search in numbers, as `findings.summary` has them.
        path: the page.
        command: what trains the best trial again, as one types it.
    """
    from plotly.offline import get_plotlyjs

    charts = draw_figures(study, found, summary["objectives"])
    best = ranked(found)
    sections = [
        Section("Best trials", table=_best_table(best[:SHOWN_TRIALS], summary["objectives"]))
        if best
        else Section("Best trials", ["No trial is complete within the limits yet."]),
        Section("Train the best", _recipe(command) if best else ["There is none yet."]),
        *(Section(chart.heading, [chart.text]) for chart in charts),
    ]
    text = page(f"Search {study.study_name}", _lead(summary), sections)
    first = 1 + len(sections) - len(charts)
    held = [_held(f"part-{n}", chart.figure) for n, chart in enumerate(charts, first) if chart.figure is not None]
    scripts = [get_plotlyjs(), SCRIPT] if held else []
    # Only these very scripts may run, so that no name can bring in another, and none may fetch anything.
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts) or "'none'"
    text = text.replace(POLICY, f"{POLICY}; script-src {allowed}", 1)
    text = text.replace("</head>", f"<style>{STYLE}</style>\n</head>", 1)
    body, _, end = text.rpartition("</body>")
    scripts = [f"<script>{script}</script>" for script in scripts]
    write_text(path, "\n".join([body.rstrip("\n"), *held, *scripts, f"</body>{end}"]))


def _digest(script: str) -> str:
    return base64.b64encode(sha256(script.encode()).digest()).decode("ascii")


def _held(part: str, figure: Mapping[str, Any]) -> str:
    # ASCII alone, for JSON can write half a surrogate pair and UTF-8 cannot; no "<", which could end the element.
    content = json.dumps(figure, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" data-part="{part}">{content}</script>'


def _lead(summary: Mapping[str, Any]) -> str:
    trials, best = summary["trials"], summary["best"]
    counts = ", ".join(f"{trials[state]} {state}" for state in ("complete", "pruned", "failed"))
    told = (
        f"best: {best['val_error']:.2f} % validation error, trial {best['trial']}" if best else "none is the best yet"
    )
    early = f", ended early by {summary['pruner']}" if trials["pruned"] else ""
    return (
        f"{trials['all']} trial{'' if trials['all'] == 1 else 's'}: {counts}; {told}. Proposed by {summary['sampler']}"
        f"{early}: {summary['epochs']} of {summary['epochs_unpruned']} epochs were trained."
    )


def _recipe(command: str) -> list[str]:
    told = ["Its recipe, with a seed and for as long as you like, once the search's findings are in results/search:"]
    told.append(RECIPE)
    if command:
        told += ["The very run, which is answered from its folder and not trained again:", command]
    return told


def _best_table(best: Sequence[TrialRecord], objectives: Sequence[str]) -> Table:
    """Return the trials as columns: fields are many, and their names are long."""
    fields = list(dict.fromkeys(name for one in best for name in one.assignment))
    rows = [
        *([objective_name(name), *(objective_text(name, one.values[name]) for one in best)] for name in objectives),
        ["epochs", *(str(one.outcome.get("epochs", "–")) for one in best)],
        ["run", *(one.fingerprint[:RUN_CHARACTERS] for one in best)],
        *([name, *(_value(one, name) for one in best)] for name in fields),
    ]
    return Table(["trial", *(str(one.number) for one in best)], rows)


def _value(one: TrialRecord, name: str) -> str:
    value = one.assignment.get(name, "–")
    return f"{value:.3g}" if isinstance(value, float) else value_text(value)
