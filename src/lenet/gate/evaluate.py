"""Collect the gate's evidence: challenger, champion and reference predict the same test images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from lenet.config.params import Params
from lenet.core.errors import LenetError
from lenet.evaluation.scoring import read_test, score
from lenet.evaluation.trained_model import TrainedModel
from lenet.gate.checks import decide
from lenet.gate.decision import GateDecision
from lenet.registry.history import GATE_ACTIONS, HistoryEntry, read_history, shared_history
from lenet.registry.registered_model import RegisteredModel, UnknownModelError
from lenet.registry.versions import Version

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GateResult:
    """The gate's decision and what it is based on.

    Attributes:
        decision: the decision with its checks.
        title: which networks were compared on which images, as a line.
        test_digest: digest of the test images.
        reference: sha256 of the reference's weights, or None.
    """

    decision: GateDecision
    title: str
    test_digest: str
    reference: str | None

    @property
    def lines(self) -> tuple[str, ...]:
        """The title and the decision's lines, for a terminal."""
        return (self.title, *(f"  {line}" for line in self.decision.lines()))


def judge(
    registry: RegisteredModel,
    params: Params,
    challenger: TrainedModel,
    champion: Version | None,
    reason: str | None = None,
) -> GateResult:
    """Have challenger, champion and reference predict the test images, and decide.

    Args:
        registry: the registered model.
        params: the data set and the gate's thresholds.
        challenger: the network that is to be champion, registered or not.
        champion: the version that is, or None.
        reason: why the champion should be replaced by one that is no better, or None.

    Raises:
        LenetError: a network is not what is on record, or was trained on another data set.
    """
    other = registry.load(champion) if champion else None
    reference = _reference(registry, params.gate.reference, challenger)
    models = [model for model in (challenger, other, reference) if model is not None]
    for model in models:
        check_data(model.name, model.config.data.name, params.data)
    test = read_test(registry.project, params.data)
    logger.info(
        f"predicting {len(test.labels):,} test images of {test.name} with {', '.join(one.name for one in models)}"
    )
    decision = decide(
        test.labels,
        score(challenger, test),
        score(other, test) if other else None,
        score(reference, test) if reference else None,
        params.gate,
        reason=reason,
        classes=challenger.config.data.classes,
        gate_uses=count_gate_uses(
            _all_history(registry), test.digest, (challenger.weights_sha256, other.weights_sha256 if other else None)
        ),
    )
    against = f"against {other.name}" if other else "with no champion yet"
    title = f"{challenger.name} {against}, on {len(test.labels):,} test images of {test.name}"
    return GateResult(decision, title, test.digest, reference.weights_sha256 if reference else None)


def check_data(name: str, data: str, expected: str) -> None:
    """Check that a network was trained on the data set whose test images the gate uses.

    Raises:
        LenetError: it was not.
    """
    if data != expected:
        raise LenetError(f"{name}: was trained on {data}; the gate uses the test images of {expected} (params.yaml)")


def _reference(registry: RegisteredModel, name: str | None, challenger: TrainedModel) -> TrainedModel | None:
    """Return the network that `gate.reference` names.

    A registry with nothing in it but the challenger, such as that of a fork's CI job, cannot have it yet: then None.
    """
    if not name:
        return None
    try:
        return registry.find_model(name)
    except UnknownModelError:
        own = registry.by_run(challenger.fingerprint, challenger.weights_sha256)
        if any(version not in own for version in registry.versions):
            raise
        logger.info(f"gate.reference {name}: is not in this registry, which is new; only the floor is checked")
        return None


def _all_history(registry: RegisteredModel) -> list[HistoryEntry]:
    """Return the model's history, and this home's entries about other models: they may have used the same images."""
    shared = shared_history(registry)
    return [*shared, *(entry for entry in read_history(registry.project) if entry not in shared)]


def count_gate_uses(entries: Sequence[HistoryEntry], test_digest: str, pair: tuple[str | None, str | None]) -> int:
    """Return how many other pairs of networks were compared on these images; a repeated comparison counts once.

    An entry that cannot be read counts as one.
    """
    used = {one.pair for one in entries if one.action in GATE_ACTIONS and one.test_digest == test_digest}
    return len(used - {pair}) + sum(one.action == "damaged" for one in entries)
