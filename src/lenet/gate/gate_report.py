"""results/retrain.md: the gate's answer, its reasons, and the report below, for a pull request and a job's summary."""

from __future__ import annotations

from pathlib import Path

from lenet.core.atomic_io import write_text
from lenet.core.paths import REPORT_MARKDOWN
from lenet.core.project import Project
from lenet.gate.evaluate import GateResult
from lenet.report.document import Section, Table, markdown

RULING = Path("results/retrain.md")


def write_ruling(project: Project, headline: str, registry: str, judgement: GateResult | None) -> None:
    """Write the page, with the report's words and tables; its pictures lie in files that a comment cannot show."""
    lead = f"Registry: {registry}."
    sections = []
    if judgement is not None:
        verdict = judgement.verdict
        rows = [(one.name, "passed" if one.passed else "failed", one.line) for one in verdict.reasons]
        paragraphs = (f"{judgement.title}.", *(f"{note}." for note in verdict.notes))
        sections.append(Section("What the gate asked", paragraphs, Table(("check", "", "why"), rows)))
    path = project.root / RULING
    page = markdown(headline[0].upper() + headline[1:], lead, sections, home=path.parent)
    write_text(path, f"{page}\n{_folded_report(project)}")


def _folded_report(project: Project) -> str:
    path = project.root / REPORT_MARKDOWN
    if not path.is_file():
        return ""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("![")]
    return "\n".join(["<details><summary>The report</summary>", "", *lines, "", "</details>", ""])
