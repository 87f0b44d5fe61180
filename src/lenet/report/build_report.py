"""The report: the answer first, then tables and pictures, each leading to its runs; offline as a page, and Markdown."""

from __future__ import annotations

from typing import Any

from lenet.config.params import Params
from lenet.core.atomic_io import read_json, write_text
from lenet.core.paths import (
    EVALUATION,
    EXPORT,
    MODEL_CARD,
    PLOTS,
    QUALITY,
    REFIT,
    REGISTRATION,
    REPORT_HTML,
    REPORT_MARKDOWN,
    SEARCH,
)
from lenet.core.project import Project
from lenet.evaluation.trained_model import read_variant
from lenet.report.document import Section, markdown, page
from lenet.report.export_section import export_paragraph, export_table
from lenet.report.quality_section import CALIBRATION_READING, PAIRS_READING, pairs_table, quality_table
from lenet.report.readme_table import results_table
from lenet.report.run_links import Trained, all_runs, chosen_run, runs_table, validation_errors
from lenet.report.search_section import refit_runs, refit_table, search_paragraphs, search_pictures
from lenet.report.summary import summarize
from lenet.runs.run_dir import SHORT

VARIANTS_READING = (
    "Errors are mean ± standard deviation over the seeds. The interval is over images and seeds: it covers what another"
    " test set of as many digits and as many other seeds would give the mean. The choice was made on validation, before"
    " the test set was read; overlapping intervals say nothing about which of two variants is better."
)


def write_report(project: Project, params: Params) -> None:
    """Write results/report.html and results/report.md from what the stages measured.

    Raises:
        DamagedError: what a stage left is missing or damaged.
    """
    root, home = project.root, (project.root / REPORT_MARKDOWN).parent
    evaluation, quality = read_json(root / EVALUATION), read_json(root / QUALITY)
    trained = {variant: read_variant(project, variant) for variant in params.evaluated_variants}
    found = summarize(evaluation, quality, validation_errors(trained))
    sections = [
        Section("Is it chance?", paragraphs=found.grounds, runs=all_runs(evaluation)),
        *_measured(project, evaluation, quality, trained),
        *_exported(project),
        _search(project),
        Section(
            "The registered model",
            paragraphs=(_registered(read_json(root / REGISTRATION), evaluation),),
            runs=chosen_run(evaluation),
        ),
        Section(
            "Runs",
            paragraphs=("“lenet runs” lists them, “lenet replay RUN” trains one again and compares.",),
            table=runs_table(evaluation, trained),
        ),
    ]
    title = f"LeNet-5 on {evaluation['data']}"
    write_text(root / REPORT_HTML, page(title, found.lead, sections))
    write_text(root / REPORT_MARKDOWN, markdown(title, found.lead, sections, home=home))


def _measured(
    project: Project, evaluation: dict[str, Any], quality: dict[str, Any], trained: Trained
) -> tuple[Section, ...]:
    plots, chosen = project.root / PLOTS, evaluation["choice"]["variant"]
    return (
        Section(
            "Variants",
            paragraphs=(VARIANTS_READING, *_threads(evaluation)),
            table=results_table(evaluation),
            pictures=(
                (plots / "validation_curves.png", "Validation error by epoch, each variant"),
                (plots / "test_errors.png", "Test error of each variant"),
            ),
            runs=all_runs(evaluation),
        ),
        Section(
            "What the chosen network misreads",
            pictures=(
                (plots / "confusion_matrix.png", f"Confusion matrix of {chosen} on the test images"),
                (plots / "misread_digits.png", f"Test digits that {chosen} misreads, the surest mistakes first"),
            ),
            runs=chosen_run(evaluation),
        ),
        Section(
            "Every pair on the same images",
            paragraphs=(PAIRS_READING,),
            table=pairs_table(quality),
            runs=all_runs(evaluation),
        ),
        Section(
            "Beyond the error",
            paragraphs=(CALIBRATION_READING,),
            table=quality_table(evaluation, quality),
            pictures=(
                (plots / "robustness.png", "Test error under shift, scale, rotation, shear and two kinds of noise"),
                (plots / "reliability.png", f"How often {chosen} is right, by how sure it is"),
                (plots / "recall.png", f"Digits of each class that {chosen} reads right"),
            ),
            runs=all_runs(evaluation),
        ),
    )


def _threads(evaluation: dict[str, Any]) -> tuple[str, ...]:
    """Say with how many threads the networks were trained, where that is on record."""
    counts = evaluation.get("threads")
    if not counts:
        return ()
    if len(counts) == 1:
        return (f"Every network was trained with {counts[0]} thread{'s' * (counts[0] != 1)}.",)
    told = " or ".join(map(str, counts))
    return (
        f"The networks were trained with {told} threads, which sum in another order: the same seed differs a little.",
    )


def _exported(project: Project) -> tuple[Section, ...]:
    """Return the section about the exported network, where the export stage ran."""
    path = project.root / EXPORT
    if not path.is_file():
        return ()
    export = read_json(path)
    label = f"{export['variant']} seed {export['seed']}"
    runs = {label: [export["metadata"]["lenet.fingerprint"][:SHORT]]}
    return (Section("As it is served", paragraphs=(export_paragraph(export),), table=export_table(export), runs=runs),)


def _search(project: Project) -> Section:
    summary, refit = read_json(project.root / SEARCH / "summary.json"), read_json(project.root / REFIT)
    return Section(
        "The search",
        paragraphs=search_paragraphs(summary, refit),
        table=refit_table(refit),
        pictures=search_pictures(project.root / SEARCH / "plots"),
        runs=refit_runs(summary, refit, f"{SEARCH}/trials.csv"),
    )


def _registered(registration: dict[str, Any], evaluation: dict[str, Any]) -> str:
    choice = evaluation["choice"]
    return (
        f"{registration['model']} in the MLflow registry has {choice['variant']} with seed {choice['seed']}, the lowest"
        f" validation error of its seeds: run {registration['run'][:SHORT]}, weights sha256"
        f" {registration['weights_sha256'][:SHORT]}. Its model card is {MODEL_CARD} and the description of its version;"
        " whether it is the champion, and why, “lenet registry” tells."
    )
