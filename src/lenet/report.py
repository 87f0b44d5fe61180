"""The report: the answer first, then the table and the pictures; one page offline, one for a pull request."""

from __future__ import annotations

from typing import Any

from lenet.durable import read_json, write_text
from lenet.errors import LenetError
from lenet.page import Section, Table, markdown, markdown_table, page
from lenet.pipeline import (
    BUILT_TRAIN,
    EVALUATION,
    PLOTS,
    QUALITY,
    REFIT,
    REGISTRATION,
    REPORT_HTML,
    REPORT_MARKDOWN,
    SEARCH,
    Params,
)
from lenet.project import Project
from lenet.quality_report import CALIBRATION_READING, PAIRS_READING, pairs_table, quality_table
from lenet.runs import SHORT
from lenet.search.report import refit_table, search_paragraphs, search_pictures

README_START, README_END = "<!-- results: written by `lenet report --readme` -->", "<!-- /results -->"
HEADER = ("variant", "test error %", "95 % interval", "validation error %", "seeds")


def write_report(project: Project, params: Params) -> None:
    """Write results/report.html and results/report.md from what the stages measured."""
    evaluation = read_json(project.root / EVALUATION)
    registration, quality = read_json(project.root / REGISTRATION), read_json(project.root / QUALITY)
    summary, refit = read_json(project.root / SEARCH / "summary.json"), read_json(project.root / REFIT)
    plots = project.root / PLOTS
    title, lead = f"LeNet-5 on {evaluation['data']}", _lead(evaluation)
    sections = [
        Section("Variants", paragraphs=(_reading(evaluation),), table=results_table(evaluation)),
        Section(
            "Pictures",
            pictures=(
                (plots / "validation_curves.png", "Validation error by epoch, each variant"),
                (plots / "test_errors.png", "Test error of each variant"),
                (plots / "confusion_matrix.png", f"Confusion matrix of {evaluation['choice']['variant']}"),
                (plots / "misread_digits.png", f"Test digits that {evaluation['choice']['variant']} misreads"),
            ),
        ),
        Section("Is it chance?", paragraphs=(PAIRS_READING,), table=pairs_table(quality)),
        Section(
            "Beyond the error",
            paragraphs=(CALIBRATION_READING,),
            table=quality_table(evaluation, quality),
            pictures=(
                (plots / "robustness.png", "Test error under shift, scale, rotation, shear and two kinds of noise"),
                (plots / "reliability.png", f"How often {evaluation['choice']['variant']} is right, by how sure it is"),
                (plots / "recall.png", f"Digits of each class that {evaluation['choice']['variant']} reads right"),
            ),
        ),
        Section(
            "The search",
            paragraphs=search_paragraphs(summary, refit),
            table=refit_table(refit),
            pictures=search_pictures(project.root / SEARCH / "plots"),
        ),
        Section("The registered model", paragraphs=(_registered(registration, evaluation),)),
        Section(
            "Runs", paragraphs=("Every figure above comes from these runs.",), table=_runs_table(project, evaluation)
        ),
    ]
    write_text(project.root / REPORT_HTML, page(title, lead, sections))
    write_text(
        project.root / REPORT_MARKDOWN, markdown(title, lead, sections, home=(project.root / REPORT_MARKDOWN).parent)
    )


def write_readme_table(project: Project) -> None:
    """Put the table of results/evaluation.json into README.md, between its two markers.

    Raises:
        LenetError: README.md has no such markers.
    """
    path = project.root / "README.md"
    text = path.read_text(encoding="utf-8")
    start, end = text.find(README_START), text.find(README_END)
    if not 0 <= start < end:
        raise LenetError(f"{path}: has no line {README_START} with {README_END} after it")
    table = markdown_table(results_table(read_json(project.root / EVALUATION)))
    write_text(path, f"{text[: start + len(README_START)]}\n{table}\n{text[end:]}")


def results_table(evaluation: dict[str, Any]) -> Table:
    """Return the table of variants, best validation error first, as report and README show it."""
    confidence = f"{100 * evaluation['confidence']:g} % interval"
    found = sorted(evaluation["variants"].items(), key=lambda item: item[1]["validation_error"]["mean"])
    rows = [
        (
            name,
            _with_spread(variant["test_error"]),
            f"{variant['interval'][0]:.2f}–{variant['interval'][1]:.2f}",
            _with_spread(variant["validation_error"]),
            str(variant["test_error"]["n"]),
        )
        for name, variant in found
    ]
    return Table((HEADER[0], HEADER[1], confidence, HEADER[3], HEADER[4]), rows)


def _with_spread(measure: dict[str, Any]) -> str:
    if measure["deviation"] is None:
        return f"{measure['mean']:.2f}"
    return f"{measure['mean']:.2f} ± {measure['deviation']:.2f}"


def _lead(evaluation: dict[str, Any]) -> str:
    choice = evaluation["choice"]["variant"]
    best = evaluation["variants"][choice]
    return (
        f"Chosen on validation: {choice}, which misreads {_with_spread(best['test_error'])} % of the"
        f" {evaluation['images']:,} test images (mean and standard deviation over {best['test_error']['n']} seeds)."
    )


def _reading(evaluation: dict[str, Any]) -> str:
    return (
        "Errors are mean ± standard deviation over the seeds. The interval is exact (Clopper-Pearson) for the errors of"
        " all seeds counted together, which read the same images. The choice was made on validation, before the test"
        " set was read; overlapping intervals say nothing about which of two variants is better."
    )


def _registered(registration: dict[str, Any], evaluation: dict[str, Any]) -> str:
    choice = evaluation["choice"]
    return (
        f"{registration['model']} in the MLflow registry is {choice['variant']} with seed {choice['seed']}, the lowest"
        f" validation error of its seeds: run {registration['run'][:SHORT]}, weights sha256"
        f" {registration['weights_sha256'][:SHORT]}."
    )


def _runs_table(project: Project, evaluation: dict[str, Any]) -> Table:
    rows = []
    for variant, found in evaluation["variants"].items():
        trained = {run["seed"]: run for run in read_json(project.root / BUILT_TRAIN / variant / "runs.json")["runs"]}
        for run in found["runs"]:
            validation = trained[run["seed"]]["measures"]["val/error"]
            epochs = trained[run["seed"]]["epochs"]
            row = (run["fingerprint"][:SHORT], variant, run["seed"], epochs, f"{validation:.2f}", f"{run['error']:.2f}")
            rows.append(tuple(str(cell) for cell in row))
    return Table(("run", "variant", "seed", "epochs", "validation error %", "test error %"), rows)
