"""The README's table is that of results/evaluation.json, and `lenet report --readme` makes it so."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lenet.core.atomic_io import write_json
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.report.readme_table import END, START, results_table, with_table, write_readme_table
from lenet.report.render import escape_markdown

ROOT = Path(__file__).parents[2]


def committed(name: str) -> str:
    """Return a file as git has it: `make repro` leaves results of its own in the work tree, which are right too."""
    shown = subprocess.run(["git", "show", f"HEAD:./{name}"], cwd=ROOT, capture_output=True, text=True, check=True)
    return shown.stdout


EVALUATION: dict[str, Any] = json.loads(committed("results/evaluation.json"))
del EVALUATION["sha256"]  # the seal, which is made anew where it is written


def test_the_readmes_table_is_that_of_the_results() -> None:
    readme = committed("README.md")
    assert readme == with_table(readme, EVALUATION), "README.md is behind the results: run `lenet report --readme`"


def test_a_changed_figure_is_noticed_and_written(project: Project) -> None:
    shutil.copyfile(ROOT / "README.md", project.root / "README.md")
    tree = copy.deepcopy(EVALUATION)
    name = tree["choice"]["variant"]
    tree["variants"][name]["interval"] = [12.34, 56.78]
    write_json(project.root / "results/evaluation.json", tree)
    before = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_table(before, tree) != before
    write_readme_table(project)
    after = (project.root / "README.md").read_text(encoding="utf-8")
    assert after == with_table(before, tree)
    assert "12.34–56.78" in after
    assert after.split(START)[0] == before.split(START)[0]
    assert after.split(END)[1] == before.split(END)[1]


def test_the_choice_leads_the_table() -> None:
    names = [line.split(" | ")[0].removeprefix("| ") for line in results_table(EVALUATION).splitlines()[2:]]
    assert names[0] == escape_markdown(EVALUATION["choice"]["variant"])
    assert sorted(names) == sorted(map(escape_markdown, EVALUATION["variants"]))


@pytest.mark.parametrize("readme", ["", START, END, f"{END}\n{START}"])
def test_a_readme_without_markers_is_refused(readme: str) -> None:
    with pytest.raises(LenetError, match=r"README\.md: has no line <!-- results"):
        with_table(readme, EVALUATION)
