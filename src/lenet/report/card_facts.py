"""What a model card is written from: one registered run, and what the stages measured of it and of its rivals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lenet.config.params import Gate, Params
from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import read_json
from lenet.core.errors import LenetError
from lenet.core.paths import EVALUATION, EXPORT, QUALITY, REFIT, REFITTED, SEARCH
from lenet.core.project import Project
from lenet.data.arrays import read_card
from lenet.evaluation.label_errors import TEST_LABELS_SHA256
from lenet.evaluation.trained_model import read_variant
from lenet.report.run_links import validation_errors
from lenet.report.summary import Summary, summarize
from lenet.runs.run_dir import RunDir

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class CardFacts:
    """All that a card says, in the shapes in which the stages left it.

    Attributes:
        model: name of the registered model.
        config: of the run.
        identity: run.json of the run.
        status: status.json of the run.
        evaluation: results/evaluation.json; its choice is this run.
        quality: this network's row of results/quality.json, or None where it was not measured.
        recipe: the rows of every seed of its variant, this one's among them.
        data: card.json of the prepared data set.
        gate: what a challenger is asked for.
        summary: which variant was chosen, and whether chance explains it.
        search: summary.json of the search, and results/refit.json; None where none took part.
        export: results/export.json where it is about this run, or None.
    """

    model: str
    config: Config
    identity: Tree
    status: Tree
    evaluation: Tree
    quality: Tree | None
    recipe: tuple[Tree, ...]
    data: Tree
    gate: Gate
    summary: Summary
    search: tuple[Tree, Tree] | None
    export: Tree | None

    @property
    def variant(self) -> str:
        """The variant that was chosen; the run may have been asked for by another name first."""
        return str(self.evaluation["choice"]["variant"])

    @property
    def found(self) -> Tree:
        """What the evaluation says of the variant."""
        found: Tree = self.evaluation["variants"][self.variant]
        return found

    @property
    def own(self) -> Tree:
        """What the evaluation says of this very network."""
        own: Tree = next(run for run in self.found["runs"] if run["fingerprint"] == self.identity["fingerprint"])
        return own

    @property
    def is_mnist(self) -> bool:
        """Whether the test labels are MNIST's own, whatever the data set is called."""
        return TEST_LABELS_SHA256 in self.data["raw"].values()


def gather(project: Project, params: Params, folder: RunDir) -> CardFacts:
    """Read what a card of the chosen run is written from.

    Raises:
        LenetError: the evaluation did not choose this run.
        DamagedError: what a stage left is missing or damaged.
    """
    identity, evaluation = folder.identity(), read_json(project.root / EVALUATION)
    choice = evaluation["choice"]
    rows = {run["seed"]: run["fingerprint"] for run in evaluation["variants"][choice["variant"]]["runs"]}
    if rows.get(choice["seed"]) != folder.fingerprint:
        raise LenetError(f"{EVALUATION}: is not about run {folder.short}; `dvc repro evaluate` measures anew")
    trained = {variant: read_variant(project, variant) for variant in evaluation["variants"]}
    quality = _optional(project.root / QUALITY) or {"pairs": [], "networks": {}}
    recipe = tuple(one for one in quality["networks"].get(choice["variant"], ()) if one["fingerprint"] in rows.values())
    export = _optional(project.root / EXPORT)
    is_own = export is not None and export["metadata"]["lenet.fingerprint"] == folder.fingerprint
    config = parse_config(identity["config"])
    return CardFacts(
        model=params.register.model,
        config=config,
        identity=identity,
        status=folder.status(),
        evaluation=evaluation,
        quality=next((one for one in recipe if one["fingerprint"] == folder.fingerprint), None),
        recipe=recipe,
        data=read_card(project.prepared(config.data.name)),
        gate=params.gate,
        summary=summarize(evaluation, quality, validation_errors(trained)),
        search=_search(project, evaluation),
        export=export if is_own else None,
    )


def _search(project: Project, evaluation: Tree) -> tuple[Tree, Tree] | None:
    summary, refit = _optional(project.root / SEARCH / "summary.json"), _optional(project.root / REFIT)
    return (summary, refit) if summary and refit and REFITTED in evaluation["variants"] else None


def _optional(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except FileNotFoundError:  # a stage that was not asked to run
        return None
