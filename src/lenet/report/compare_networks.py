"""Compare two trained networks on the test images: which one misclassifies fewer, and may that be chance?"""

from __future__ import annotations

from lenet.config.params import Params
from lenet.core.atomic_io import read_json
from lenet.core.errors import DamagedError, LenetError
from lenet.core.paths import EVALUATION
from lenet.core.project import Project
from lenet.core.table import format_table
from lenet.evaluation.metrics import CONFIDENCE, PERCENT, SIGNIFICANT, exact_interval, misclassified
from lenet.evaluation.scoring import read_test, score
from lenet.evaluation.stats.mcnemar import Comparison, compare
from lenet.evaluation.trained_model import TrainedModel
from lenet.registry.registered_model import RegisteredModel
from lenet.runs.run_dir import all_runs
from lenet.tracking.entities import evaluation


def compare_networks(project: Project, params: Params, names: tuple[str, str]) -> str:
    """Classify the test images with both networks, and return their comparison as text for a terminal.

    Args:
        project: the project whose runs and registry are read.
        params: names the registered model that versions without a model's name belong to.
        names: the two networks, as `RegisteredModel.find_model` takes them.

    Raises:
        LenetError: there is no such network, its files are damaged, or the two were trained on different data sets.
    """
    with RegisteredModel(project, params.register.model) as registry:
        a, b = (registry.find_model(name) for name in names)
        data = a.config.data.name
        if data != b.config.data.name:
            raise LenetError(f"{a.name} was trained on {data}, {b.name} on {b.config.data.name}: not the same data")
        test = read_test(project, data)
        found = compare(misclassified(score(a, test), test.labels), misclassified(score(b, test), test.labels))
    head = f"{found.counts.n:,} test images of {test.name} (digest {test.digest[:12]})"
    rows = [_error_table(found, a, b), "", *_evidence(found), "", *_caveats(len(_measured(project, test.digest)))]
    return "\n".join([_headline(found, a, b), "", head, *rows])


def _headline(found: Comparison, a: TrainedModel, b: TrainedModel) -> str:
    if a.weights_sha256 == b.weights_sha256:
        return "A and B are the same weights."
    counts = found.counts
    more = counts.only_b - counts.only_a
    if not more:
        return f"A and B misclassify {counts.both + counts.only_a:,} images each."
    better, other = ("A", "B") if more > 0 else ("B", "A")
    significant = "significant" if found.p < SIGNIFICANT else "not significant"
    images = f"{abs(more):,} image{'s' * (abs(more) != 1)}"
    return f"{better} misclassifies {images} fewer than {other}: {significant} (p = {_p(found.p)})."


def _error_table(found: Comparison, a: TrainedModel, b: TrainedModel) -> str:
    counts = found.counts
    rows = []
    for letter, network, wrong in (("A", a, counts.both + counts.only_a), ("B", b, counts.both + counts.only_b)):
        low, high = exact_interval(wrong, counts.n)
        error, interval = f"{PERCENT * wrong / counts.n:.2f}", f"{low:.2f} to {high:.2f}"
        rows.append((letter, network.name, f"{wrong:,}", error, interval, network.weights_sha256[:12]))
    headings = ("", "network", "misclassified", "error %", f"{PERCENT * CONFIDENCE:g} % interval", "weights")
    return format_table(headings, rows, ("misclassified", "error %"))


def _evidence(found: Comparison) -> list[str]:
    counts = found.counts
    interval = f"{PERCENT * found.confidence:g} % score interval {found.low:+.2f} to {found.high:+.2f}"
    return [
        f"misclassified by both {counts.both:,}, by A alone {counts.only_a:,}, by B alone {counts.only_b:,}",
        f"A - B: {counts.difference:+.2f} points of error, {interval}",
        f"McNemar's exact test, two-sided: p = {_p(found.p)}",
    ]


def _caveats(measured: int) -> list[str]:
    return [
        "The intervals of the errors are exact; their overlap is no test of the difference. One pair of networks says",
        "nothing of two recipes: compare those over seeds, as in `lenet compare model.activation=tanh"
        " model.activation=relu`.",
        f"Test errors of {measured:,} network{'s' * (measured != 1)} are on record for these images. The test error of"
        " a network that was chosen by",
        "them is too low: choose on validation.",
    ]


def _measured(project: Project, test_digest: str) -> set[str]:
    """Return the fingerprints of the runs whose error on these test images is on record."""
    found = set()
    for run in all_runs(project):
        try:
            if evaluation(run).get("test_digest") == test_digest:
                found.add(run.fingerprint)
        except DamagedError:  # `lenet doctor` reports it
            continue
    try:
        results = read_json(project.root / EVALUATION)
    except (FileNotFoundError, DamagedError):
        return found
    if results["test_digest"] == test_digest:
        found |= {row["fingerprint"] for variant in results["variants"].values() for row in variant["runs"]}
    return found


def _p(p: float) -> str:
    return f"{p:.1g}" if p < 0.001 else f"{p:.3f}"
