"""The tables of a model card: its recipe, its measures, its recall by class, its error under distortions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lenet.evaluation.metrics import spread
from lenet.report.card_facts import CardFacts, Tree
from lenet.report.document import Table
from lenet.report.quality_section import SHOWN_LEVELS, distorted_error
from lenet.report.summary import with_spread

NOT_MEASURED = "–"


def recipe_table(facts: CardFacts) -> Table:
    """Return how the network was trained, knob by knob."""
    config = facts.config
    optimizer, augmentation = asdict(config.optimizer), config.augmentation
    schedule = optimizer.pop("schedule")
    shift = (
        f"random shifts of up to {augmentation.shift} pixel{'s' * (augmentation.shift != 1)}"
        if augmentation.shift
        else "none"
    )
    rows = [
        ("activation", config.model.activation),
        ("pooling", config.model.pooling),
        ("normalisation", config.model.normalization),
        ("initialisation", config.model.initialization),
        ("augmentation", shift),
        ("optimizer", _listed(optimizer)),
        ("schedule", _listed(schedule)),
        ("epochs", str(config.trainer.epochs)),
        ("batch", f"{config.trainer.batch_size} images"),
        ("precision", config.trainer.precision),
    ]
    return Table(("part", "value"), rows)


def measures_table(facts: CardFacts) -> Table:
    """Return error, likelihood and calibration of this network with intervals, and of its recipe over the seeds."""
    own, found, quality = facts.own, facts.found, facts.quality
    seeds = str(found["test_error"]["n"])
    rows = [
        ("test error, %", f"{own['error']:.2f}", _range(own["interval"], 2), with_spread(found["test_error"]), seeds),
        (
            "negative log-likelihood, nats",
            f"{own['loss']:.4f}",
            _range(quality["loss_interval"], 4) if quality else NOT_MEASURED,
            with_spread(found["test_loss"], 4),
            seeds,
        ),
    ]
    if quality:
        shown, limits = f"{quality['calibration_error']:.2f}", _range(quality["calibration_interval"], 2)
        rows.append(("calibration error, points", shown, limits, with_spread(found["calibration_error"]), seeds))
    return Table(("measure", "this network", _confidence(facts), "over the seeds", "n"), rows)


def recall_table(quality: Tree, confidence: float) -> Table:
    """Return how much of each class this network reads right; a class without images has no recall."""
    rows = [
        (
            str(one["label"]),
            f"{one['right']:,} of {one['images']:,}",
            NOT_MEASURED if one["recall"] is None else f"{one['recall']:.2f}",
            NOT_MEASURED if one["interval"] is None else _range(one["interval"], 2),
        )
        for one in quality["recalls"]
    ]
    return Table(("class", "read right", "recall, %", f"{100 * confidence:g} % interval"), rows)


def robustness_table(facts: CardFacts) -> Table | None:
    """Return the error under each kind of distortion at one strength; None where it was not measured."""
    if facts.quality is None:
        return None
    units = {curve["distortion"]: curve["unit"] for curve in facts.quality["robustness"]}
    rows = []
    for kind, level in SHOWN_LEVELS.items():
        over_seeds = asdict(spread([distorted_error(one, kind, level) for one in facts.recipe]))
        own = f"{distorted_error(facts.quality, kind, level):.1f}"
        rows.append((f"{kind}, {level:g} {units[kind]}", own, with_spread(over_seeds, 1), str(over_seeds["n"])))
    return Table(("distortion", "error, %", "over the seeds", "n"), rows)


def provenance_table(facts: CardFacts) -> Table:
    """Return what leads back from the card to the run's bytes."""
    attempts = facts.status["attempts"]
    last: Mapping[str, Any] = attempts[-1] if attempts else {}
    git: Mapping[str, Any] = last.get("git", {})
    changed = " with uncommitted changes" if git.get("dirty") else ""
    rows = [
        ("run", facts.identity["fingerprint"]),
        ("weights sha256", facts.status["files"]["weights.safetensors"]),
        ("training data digest", facts.identity["data_digest"]),
        ("test data digest", facts.evaluation["test_digest"]),
        ("training code digest", facts.identity["code_digest"]),
        ("commit", f"{git.get('commit') or 'none'}{changed}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in last.get("versions", {}).items())),
        ("trained on", last.get("device", "")),
    ]
    return Table(("what", "which"), [row for row in rows if row[1]])


def _confidence(facts: CardFacts) -> str:
    return f"{100 * facts.evaluation['confidence']:g} % interval"


def _listed(knobs: Mapping[str, Any]) -> str:
    name, *others = knobs.items()
    return ", ".join([str(name[1]), *(f"{key.replace('_', ' ')} {_knob(value)}" for key, value in others)])


def _knob(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _range(limits: Any, decimals: int) -> str:
    return f"{limits[0]:.{decimals}f}–{limits[1]:.{decimals}f}"
