"""`lenet compare A B`: which of two trained networks reads the test images better, and is it chance?"""

from __future__ import annotations

from collections.abc import Callable

from lenet.config.params import Params
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.evaluation.metrics import CONFIDENCE, PERCENT, exact_interval, misclassified
from lenet.evaluation.scoring import read_test, score
from lenet.evaluation.stats.mcnemar import Comparison, compare
from lenet.evaluation.trained_model import TrainedModel
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.resolve import find_network

ALPHA = 0.05
"""Below it a difference is said not to be chance."""


def compare_networks(project: Project, params: Params, names: tuple[str, str], tell: Callable[[str], None]) -> str:
    """Let both networks read the test images, and return what they say as a page for a terminal.

    Args:
        project: where things are.
        params: the registered model that versions without a model's name belong to.
        names: the two, as `lookup.find_network` takes them.
        tell: takes a line for the user.

    Raises:
        LenetError: there is no such network, it is not what it was, or the two read different data sets.
    """
    with RegisteredModel(project, params.register.model) as shelf:
        a, b = (find_network(shelf, name, tell) for name in names)
        if a.config.data.name != b.config.data.name:
            raise LenetError(f"{a.name} reads {a.config.data.name}, {b.name} {b.config.data.name}: not the same data")
        test = read_test(project, a.config.data.name)
        found = compare(misclassified(score(a, test), test.labels), misclassified(score(b, test), test.labels))
    head = f"{found.counts.n:,} test images of {test.name} (digest {test.digest[:12]})"
    return "\n".join([_answer(found, a, b), "", head, *_errors(found, a, b), "", *_evidence(found)])


def _answer(found: Comparison, a: TrainedModel, b: TrainedModel) -> str:
    """Return who wins, by how many images, and whether it is chance."""
    if a.weights_sha256 == b.weights_sha256:
        return "A and B are the same weights."
    counts = found.counts
    more = counts.only_b - counts.only_a
    if not more:
        return f"Neither wins: A and B misread {counts.both + counts.only_a:,} images each."
    winner, loser = ("A", "B") if more > 0 else ("B", "A")
    images = f"{abs(more):,} image{'s' * (abs(more) != 1)}"
    if found.p < ALPHA:
        return f"{winner} wins: it misreads {images} fewer than {loser}, which is hardly chance (p = {_p(found.p)})."
    return f"{winner} misreads {images} fewer than {loser}; more than chance is not shown (p = {_p(found.p)})."


def _errors(found: Comparison, a: TrainedModel, b: TrainedModel) -> list[str]:
    counts = found.counts
    rows = []
    for letter, network, wrong in (("A", a, counts.both + counts.only_a), ("B", b, counts.both + counts.only_b)):
        low, high = exact_interval(wrong, counts.n)
        error = f"{PERCENT * wrong / counts.n:.2f} %  ({low:.2f} to {high:.2f})"
        rows.append((letter, network.name, f"{wrong:,} misread", error, f"weights {network.weights_sha256[:12]}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _evidence(found: Comparison) -> list[str]:
    counts = found.counts
    interval = f"{PERCENT * found.confidence:g} % score interval {found.low:+.2f} to {found.high:+.2f}"
    return [
        f"misread by both {counts.both:,}, by A alone {counts.only_a:,}, by B alone {counts.only_b:,}",
        f"A - B: {counts.difference:+.2f} points of error, {interval}",
        f"McNemar's exact test, two-sided: p = {_p(found.p)}",
        "",
        f"In brackets: exact {PERCENT * CONFIDENCE:g} % intervals of each error. Whether they overlap says nothing of",
        "the difference, which stands on the images that one network alone misreads. Whoever chooses by",
        "these images has no test set any more: choose on validation, and let `lenet promote` decide.",
    ]


def _p(p: float) -> str:
    return f"{p:.1g}" if p < 0.001 else f"{p:.3f}"
