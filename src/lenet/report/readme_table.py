"""The table of variants in README.md, which `lenet report --readme` writes between two markers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lenet.core.atomic_io import read_json, write_text
from lenet.core.errors import LenetError
from lenet.core.paths import EVALUATION
from lenet.core.project import Project
from lenet.report.facts import ranking
from lenet.report.render import render

README = "README.md"
START, END = "<!-- results: written by `lenet report --readme` -->", "<!-- /results -->"


def results_table(evaluation: Mapping[str, Any]) -> str:
    """Return the variants of results/evaluation.json as a Markdown table, lowest mean validation error first."""
    return render("variants.md.j2", {"evaluation": evaluation, "ranking": ranking(evaluation)})


def with_table(readme: str, evaluation: Mapping[str, Any]) -> str:
    """Return a README with this evaluation's table between its two markers.

    Raises:
        LenetError: the README has no such markers.
    """
    start = readme.find(START)
    end = readme.find(END, start)
    if not 0 <= start < end:
        raise LenetError(f"{README}: has no line {START} with {END} after it")
    return f"{readme[: start + len(START)]}\n{results_table(evaluation)}{readme[end:]}"


def write_readme_table(project: Project) -> None:
    """Put the table of results/evaluation.json into README.md; raises as `with_table`, and in a DVC experiment."""
    project.refuse_experiment("lenet report --readme")
    path = project.root / README
    write_text(path, with_table(path.read_text(encoding="utf-8"), read_json(project.root / EVALUATION)))
