"""The model card of a registered network: what it is for, what it can and cannot do, and how it was chosen.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, doi 10.1145/3287560.3287596. Pure: from what the
stages measured. It says nothing of what comes later, such as the gate's verdict, which stands in the version's tags; so
the card that a version got stays true, whichever version is the champion.
"""

from __future__ import annotations

from lenet.evaluation.label_errors import DOUBTFUL_LABELS
from lenet.report.card_facts import CardFacts
from lenet.report.card_tables import measures_table, provenance_table, recall_table, recipe_table, robustness_table
from lenet.report.document import Section, Table, markdown
from lenet.report.export_section import export_paragraph, export_table
from lenet.report.readme_table import results_table
from lenet.report.summary import seeds
from lenet.tracking.entities import MODEL_CARD

DESCRIPTION_CHARACTERS = 5000
"""What MLflow's databases take for a version's description (`model_versions.description`, 3.17)."""

REST = f"The whole card is {MODEL_CARD} among the artifacts of the run that this version comes from."
CITATION = (
    "This card follows Mitchell et al., “Model Cards for Model Reporting”, FAT* 2019, doi 10.1145/3287560.3287596. It"
    " is written by “lenet register” from what was measured, and is not edited by hand."
)


def model_card(facts: CardFacts) -> str:
    """Return the card as GitHub Markdown: the same facts give the same text."""
    own, config = facts.own, facts.config
    lead = (
        f"LeNet-5 that tells the {config.data.classes} classes of {config.data.name} apart, as run"
        f" {facts.identity['fingerprint'][:12]}: it misreads {own['misclassified']} of {facts.evaluation['images']:,}"
        f" test images. Versions of {facts.model} in the MLflow registry have a card each."
    )
    sections = (
        _uses(facts),
        Section("Measures", (_measures_reading(facts),), measures_table(facts)),
        *_by_class(facts),
        _limits(facts),
        _data(facts),
        _chosen(facts),
        Section("Recipe", (_network(facts),), recipe_table(facts)),
        *([Section("Is it chance?", facts.summary.grounds)] if facts.summary.grounds else ()),
        *_robustness(facts),
        *_served(facts),
        Section("Provenance", ("“lenet replay RUN” trains it again and compares.",), provenance_table(facts)),
        Section("About this card", (CITATION,)),
    )
    return markdown(f"Model card: {facts.variant} seed {config.seed}", lead, sections)


def as_description(card: str, limit: int = DESCRIPTION_CHARACTERS) -> str:
    """Return a card as MLflow holds it, a version's description: where it is too long, the sections that fit, whole."""
    if len(card) <= limit:
        return card
    kept, *sections = card.split("\n## ")
    room = limit - len(REST) - 2
    for section in sections:
        if len(kept) + len(section) + 4 <= room:
            kept += f"\n## {section}"
    return f"{kept[:room].rstrip()}\n\n{REST}"


def _uses(facts: CardFacts) -> Section:
    kind = "handwritten digits" if facts.is_mnist else f"images of {facts.config.data.name}"
    images = (
        "ink bright on black, centred and scaled as MNIST's are" if facts.is_mnist else "prepared as that set's are"
    )
    return Section(
        "Intended use",
        (
            f"For teaching, for trying out experiment tracking, and as a small baseline: {kind}, one an image, 28×28"
            f" bytes, {images}; out come {facts.config.data.classes} logits.",
            "Out of scope: any decision about people or money, such as cheques, forms, ballots or examinations; images"
            " from other sources, with several characters or none, photographed, rotated or inverted. It always"
            " answers with one of its classes and cannot say that an image shows none of them.",
        ),
    )


def _measures_reading(facts: CardFacts) -> str:
    return (
        f"On the {facts.evaluation['images']:,} test images, which chose nothing. The interval is this network's:"
        " exact (Clopper-Pearson) for the error, a bootstrap's for the others. Over the seeds: mean ± standard"
        f" deviation of {seeds(facts.found['test_error']['n'])} of the same recipe; {facts.variant}'s validation error"
        " stands under “How it was chosen”."
    )


def _by_class(facts: CardFacts) -> tuple[Section, ...]:
    if facts.quality is None:
        return ()
    confidence = facts.evaluation["confidence"]
    reading = f"Of this network: {facts.config.data.classes} intervals, so that one of them may well miss."
    return (Section("By class", (reading,), recall_table(facts.quality, confidence)),)


def _robustness(facts: CardFacts) -> tuple[Section, ...]:
    table: Table | None = robustness_table(facts)
    if table is None or facts.quality is None:
        return ()
    images = facts.quality["robustness"][0]["images"]
    shift = facts.config.augmentation.shift
    shown = (
        f"shifts of up to {shift} pixel{'s' * (shift > 1)} and no other augmentation" if shift else "no augmentation"
    )
    reading = f"Error on the same {images:,} test images, drawn by class, distorted. Training showed {shown}."
    return (Section("Robustness", (reading,), table),)


def _served(facts: CardFacts) -> tuple[Section, ...]:
    if facts.export is None:
        return ()
    return (Section("As it is served", (export_paragraph(facts.export),), export_table(facts.export)),)


def _limits(facts: CardFacts) -> Section:
    told = [
        f"The figures hold for images drawn as {facts.config.data.name}'s test set was, and for no others; distorted"
        " images are misread far more often.",
        "Its confidence is no probability of being right where the calibration error is large; label smoothing makes"
        " it less sure than it is right."
        if facts.config.optimizer.label_smoothing
        else "Its confidence is no probability of being right where the calibration error is large.",
    ]
    if facts.is_mnist:
        told.append(
            "Who wrote the digits is known by group alone, employees of the US Census Bureau and high-school students,"
            " in the United States and before 1995; how well it reads the hands of other people, ages or countries was"
            " never measured."
        )
    return Section("Limits", told)


def _data(facts: CardFacts) -> Section:
    counts, doubted = facts.data["counts"], len(DOUBTFUL_LABELS)
    # The card's own cut is that of conf/data; the run's may be another, of the same files.
    validation = facts.config.data.validation_size
    images = facts.config.data.train_size or counts["train"]["images"] + counts["validation"]["images"] - validation
    rows = [
        ("training", f"{images:,}", facts.identity["data_digest"]),
        ("validation", f"{validation:,}", "of the same files, held out by class"),
        ("test", f"{counts['test']['images']:,}", facts.evaluation["test_digest"]),
    ]
    known = (
        f"{doubted} of its test labels, {100 * doubted / counts['test']['images']:.2f} %, were seen by fewer than three"
        " of five people who were asked (Northcutt et al., “Pervasive Label Errors in Test Sets Destabilize Machine"
        " Learning Benchmarks”, NeurIPS 2021). They count in every figure here."
        if facts.is_mnist
        else "Doubtful labels are not known of it here; that there are none is not said."
    )
    return Section(
        "Data", (f"The data set is {facts.config.data.name}. {known}",), Table(("part", "images", "digest"), rows)
    )


def _network(facts: CardFacts) -> str:
    size = f" of {facts.quality['parameters']:,} parameters" if facts.quality else ""
    return (
        f"LeNet-5{size} on 32×32 fields, after LeCun, Bottou, Bengio and Haffner, “Gradient-Based Learning Applied to"
        " Document Recognition”, Proc. IEEE 86(11), 1998."
    )


def _chosen(facts: CardFacts) -> Section:
    gate, told = facts.gate, [facts.summary.lead]
    told.append(
        f"Tried were {len(facts.evaluation['variants'])} variants; of {facts.variant}'s"
        f" {seeds(facts.found['test_error']['n'])} this is the one with the lowest validation error, which makes that"
        " error too good."
    )
    if facts.search:
        summary, refit = facts.search
        told.append(
            f"“refitted” is the best of {summary['trials']['all']} trials of a search, of which the best"
            f" {len(refit['candidates'])} were trained again; its figures here are those of"
            f" {refit['comparison']['n_a']} further seeds, which chose nothing."
        )
    told.append(
        f"To become champion it has to pass a gate: an error whose upper {100 * gate.confidence:g} % limit stays below"
        f" {gate.floor_error_percent:g} %, not worse than the champion by {gate.margin_points:g} points or more, worse"
        f" in no class and better as a whole by more than chance (level {gate.alpha:g}). What came of it stands in the"
        " version's tag lenet.verdict."
    )
    return Section("How it was chosen", told, results_table(facts.evaluation))
