"""Compare two recipes by the validation errors of their finished runs, over seeds.

A filter such as `model.activation=tanh` chooses runs by their config; the runs it chooses have to be one recipe with
several seeds. The test set is not read. The test is Welch's, unpaired: `welch_test` says why pairing by seed would gain
nothing here. Seeds that both sides have stand side by side in the table all the same.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.config.networks import NETWORKS
from lenet.config.schema import identity_of
from lenet.config.validation import flatten
from lenet.core.atomic_io import atomic_write, write_text
from lenet.core.errors import ConfigError, LenetError
from lenet.core.project import Project
from lenet.core.table import format_table
from lenet.evaluation.metrics import PERCENT, SIGNIFICANT, Spread, spread
from lenet.evaluation.stats.welch import CLAIM_SEEDS, SeedComparison, welch_test
from lenet.runs.fingerprint import code_digest
from lenet.runs.run_dir import FINISHED, all_runs
from lenet.runs.table import RunRow, read_row, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".pdf", ".svg", ".png")
NUMBERS = ("n", "mean error %", "standard deviation", "seed", "A %", "B %", "A - B")
"""Columns that are aligned right."""

WIDTH, HEIGHT = 3.3, 2.4
"""Inches: a column of a two-column paper."""


@dataclass(frozen=True)
class Recipe:
    """The finished runs that a filter chose, one a seed.

    Attributes:
        filter: as it was typed.
        runs: by seed, ascending.
        knobs: the values that all of them share, by dotted name.
    """

    filter: str
    runs: Mapping[int, RunRow]
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def errors(self) -> list[float]:
        """The validation errors in percent, in the order of the seeds."""
        return [run.error for run in self.runs.values() if run.error is not None]

    @property
    def spread(self) -> Spread:
        """Number, mean and deviation of the errors."""
        return spread(self.errors)


def compare_recipes(project: Project, filters: tuple[str, str], figure: Path | None = None) -> str:
    """Return what two recipes' validation errors say, as text for a terminal.

    Args:
        project: the project whose runs are compared.
        filters: two filters, each `key=value[,key=value]`.
        figure: a PDF, SVG or PNG that is drawn, with its figures as CSV beside it.

    Raises:
        ConfigError: a filter is wrong, or the figure's format is not known.
        LenetError: a filter chooses too few runs or several recipes, or the runs were validated on other images.
    """
    if figure is not None and figure.suffix.lower() not in FORMATS:
        raise ConfigError(f"--figure {figure}: must end with {', '.join(FORMATS)}")
    a, b = read_recipes(project, filters)
    found = welch_test(a.errors, b.errors)
    lines = [_headline(found), "", _recipe_table(a, b), _difference(found), "", _seed_table(a, b), *_remarks(a, b)]
    if figure is not None:
        lines.append(f"wrote {draw_comparison(a, b, found, figure)}")
    return "\n".join(lines)


def read_recipes(project: Project, filters: tuple[str, str]) -> tuple[Recipe, Recipe]:
    """Return the finished runs that two filters choose; errors as those of `compare_recipes`."""
    rows = [row for row in map(read_row, all_runs(project)) if row.state == FINISHED and row.error is not None]
    chosen = [select(rows, _terms(text)) for text in filters]
    chosen = _of_one_code(chosen, filters)
    a, b = (_one_recipe(text, runs) for text, runs in zip(filters, chosen, strict=True))
    if {run.folder.fingerprint for run in a.runs.values()} & {run.folder.fingerprint for run in b.runs.values()}:
        raise LenetError(f"{filters[0]} and {filters[1]} choose some of the same runs; compare with other filters")
    for name in ("data.name", "data.validation_size", "data digest"):
        if a.knobs.get(name) != b.knobs.get(name):
            raise LenetError(
                f"{name} is {a.knobs.get(name)} for {a.filter} and {b.knobs.get(name)} for {b.filter}: their errors on"
                " different validation images cannot be compared"
            )
    return a, b


def _terms(text: str) -> list[str]:
    """Return the terms of a filter; `experiment=` is another word for a variant's name."""
    terms = [term.strip() for term in text.split(",")]
    return [f"name={term.partition('=')[2]}" if term.startswith("experiment=") else term for term in terms]


def _of_one_code(chosen: Sequence[list[RunRow]], filters: Sequence[str]) -> list[list[RunRow]]:
    """Keep the runs of the installed training code where both sides have some; runs of other code train otherwise."""
    digests = [{_identity(run)["code_digest"] for run in runs} for runs in chosen]
    if len(digests[0] | digests[1]) <= 1:
        return list(chosen)
    installed = {code_digest(name) for name in NETWORKS}
    if all(installed & found for found in digests):
        return [[run for run in runs if _identity(run)["code_digest"] in installed] for runs in chosen]
    raise LenetError(
        f"{filters[0]} and {filters[1]}: the runs are of several versions of the training code and cannot be compared;"
        " train both sides with this version"
    )


def _identity(run: RunRow) -> dict[str, Any]:
    return run.folder.identity()


def _one_recipe(text: str, runs: Sequence[RunRow]) -> Recipe:
    if not runs:
        raise LenetError(f"{text}: no finished run with a validation error fits; `lenet runs` lists the runs")
    trees = [_knobs(run) for run in runs]
    names = sorted({name for tree in trees for name in tree})
    values = {name: sorted({str(tree.get(name)) for tree in trees}) for name in names}
    varied = [f"{name} ({', '.join(found)})" for name, found in values.items() if len(found) > 1]
    if varied:
        raise LenetError(f"{text}: chooses runs that differ in {'; '.join(varied)}: add these to the filter")
    by_seed = {run.knobs["seed"]: run for run in sorted(runs, key=lambda run: int(run.knobs["seed"]))}
    return Recipe(text, by_seed, trees[0])


def _knobs(run: RunRow) -> dict[str, Any]:
    """Return what can change the result of a run beside its seed and its code."""
    identity = _identity(run)
    knobs = dict(flatten(identity_of(identity["config"]))) | {"data digest": identity["data_digest"][:12]}
    return {name: value for name, value in knobs.items() if name != "seed"}


def _headline(found: SeedComparison) -> str:
    better, other = ("B", "A") if found.mean > 0 else ("A", "B")
    fact = f"{better}'s mean validation error is {abs(found.mean):.2f} points lower than {other}'s"
    if not found.mean:
        fact = "A and B have the same mean validation error"
    if found.fewest < CLAIM_SEEDS:
        return f"{fact}: fewer than {CLAIM_SEEDS} seeds support no claim (p = {found.p:.2g})."
    return f"{fact}: {'significant' if found.p < SIGNIFICANT else 'not significant'} (p = {found.p:.2g})."


def _recipe_table(a: Recipe, b: Recipe) -> str:
    rows = []
    for letter, recipe in (("A", a), ("B", b)):
        found = recipe.spread
        deviation = "" if found.deviation is None else f"{found.deviation:.2f}"
        rows.append((letter, recipe.filter, str(found.n), f"{found.mean:.2f}", deviation))
    return format_table(("", "runs", "n", "mean error %", "standard deviation"), rows, NUMBERS)


def _difference(found: SeedComparison) -> str:
    return (
        f"A - B: {found.mean:+.2f} points, {PERCENT * found.confidence:g} % interval {found.low:+.2f} to"
        f" {found.high:+.2f} (Welch's t-test over {found.n_a} and {found.n_b} seeds, two-sided, unpaired)"
    )


def _seed_table(a: Recipe, b: Recipe) -> str:
    rows = []
    for seed in sorted({*a.runs, *b.runs}):
        runs = (a.runs.get(seed), b.runs.get(seed))
        errors = [run.error for run in runs if run is not None and run.error is not None]
        shown = ["" if run is None else f"{run.error:.2f}" for run in runs]
        difference = f"{errors[0] - errors[1]:+.2f}" if len(errors) == len(runs) else ""
        rows.append((str(seed), *shown, difference, *("" if run is None else run.folder.short for run in runs)))
    return format_table(("seed", "A %", "B %", "A - B", "run A", "run B"), rows, NUMBERS)


def _remarks(a: Recipe, b: Recipe) -> list[str]:
    common = len(a.runs.keys() & b.runs.keys())
    lines = [
        f"Seeds of both: {common}. The interval covers the choice of seeds, on the same validation images; the test set"
        " was not read."
    ]
    filtered = {term.partition("=")[0] for recipe in (a, b) for term in _terms(recipe.filter)}
    names = sorted({*a.knobs, *b.knobs} - filtered)
    differing = [f"{n} ({a.knobs.get(n)}, {b.knobs.get(n)})" for n in names if a.knobs.get(n) != b.knobs.get(n)]
    if differing:
        lines.append(f"They differ in more than the filters say: {'; '.join(differing)}.")
    return lines


def draw_comparison(a: Recipe, b: Recipe, found: SeedComparison, path: Path) -> str:
    """Draw each seed's error, the means and their difference for a paper, and write the figures as CSV beside it.

    The figure is 3.3 inches wide, its fonts are embedded, and the same runs give the same bytes.

    Returns:
        Both files' names.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    look: dict[Any, Any] = {
        "font.size": 8,
        "axes.linewidth": 0.6,
        "pdf.fonttype": 42,  # TrueType, which publishers take
        "svg.fonttype": "none",
        "svg.hashsalt": "lenet",
    }
    with mpl.rc_context(look):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        _draw(figure.subplots(), a, b, found)
        kind = path.suffix.lower().removeprefix(".")
        undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=300, metadata=undated)
    table = path.with_suffix(".csv")
    write_text(table, _csv(a, b))
    return f"{path} and {table}"


def _draw(axes: Axes, a: Recipe, b: Recipe, found: SeedComparison) -> None:
    from lenet.evaluation.plots.style import BLUE, LINE, ORANGE, clean

    for seed in a.runs.keys() & b.runs.keys():
        pair = [run.error for run in (a.runs[seed], b.runs[seed]) if run.error is not None]
        axes.plot((0, 1), pair, color=LINE, linewidth=0.8, zorder=1)
    for place, (recipe, colour) in enumerate(((a, BLUE), (b, ORANGE))):
        errors, over_seeds = recipe.errors, recipe.spread
        axes.plot([place] * len(errors), errors, "o", color=colour, markersize=3.5, alpha=0.6, markeredgewidth=0)
        outwards = place + (0.18 if place else -0.18)
        axes.errorbar(outwards, over_seeds.mean, over_seeds.deviation, fmt="s", color=colour, markersize=4, capsize=2.5)
    names = [f"{clean(recipe.filter, 28)}\n(n = {len(recipe.runs)})" for recipe in (a, b)]
    axes.set_xticks((0, 1), names, parse_math=False)
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylabel("validation error, %")
    interval = f"[{found.low:+.2f}, {found.high:+.2f}]"
    axes.set_title(f"difference {found.mean:+.2f} {interval}, p = {found.p:.2g}", fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _csv(a: Recipe, b: Recipe) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("side", "filter", "seed", "validation_error_percent", "run"))
    for side, recipe in (("A", a), ("B", b)):
        writer.writerows(
            (side, recipe.filter, seed, run.error, run.folder.fingerprint) for seed, run in recipe.runs.items()
        )
    return text.getvalue()
