"""The table of variants, as report and README show it; the README's is written by `lenet report --readme`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lenet.core.atomic_io import read_json, write_text
from lenet.core.errors import LenetError
from lenet.core.paths import EVALUATION
from lenet.core.project import Project
from lenet.report.document import Table, markdown_table
from lenet.report.summary import ranking, with_spread

README = "README.md"
START, END = "<!-- results: written by `lenet report --readme` -->", "<!-- /results -->"


def results_table(evaluation: Mapping[str, Any]) -> Table:
    """Return the table of variants of results/evaluation.json, lowest mean validation error first."""
    found = evaluation["variants"]
    rows = [
        (
            name,
            with_spread(found[name]["test_error"]),
            f"{found[name]['interval'][0]:.2f}–{found[name]['interval'][1]:.2f}",
            with_spread(found[name]["validation_error"]),
            str(found[name]["test_error"]["n"]),
        )
        for name in ranking(evaluation)
    ]
    confidence = f"{100 * evaluation['confidence']:g} % interval"
    return Table(("variant", "test error %", confidence, "validation error %", "seeds"), rows)


def with_table(readme: str, evaluation: Mapping[str, Any]) -> str:
    """Return a README with this evaluation's table between its two markers; the same text where it is there already.

    Raises:
        LenetError: the README has no such markers.
    """
    start = readme.find(START)
    end = readme.find(END, start)
    if not 0 <= start < end:
        raise LenetError(f"{README}: has no line {START} with {END} after it")
    return f"{readme[: start + len(START)]}\n{markdown_table(results_table(evaluation))}\n{readme[end:]}"


def write_readme_table(project: Project) -> None:
    """Put the table of results/evaluation.json into README.md; raises as `with_table`, and in a DVC experiment."""
    project.refuse_experiment("lenet report --readme")
    path = project.root / README
    write_text(path, with_table(path.read_text(encoding="utf-8"), read_json(project.root / EVALUATION)))
