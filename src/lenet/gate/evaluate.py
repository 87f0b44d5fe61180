"""The evidence for a promotion: challenger, champion and reference read the same test images, and the gate decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lenet.config.params import Params
from lenet.core.errors import LenetError
from lenet.evaluation.scoring import TestSet, read_test, score
from lenet.evaluation.trained_model import TrainedModel
from lenet.gate.checks import decide
from lenet.gate.decision import GateDecision
from lenet.registry.history import JUDGING, HistoryEntry
from lenet.registry.history_tags import other_models, shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.resolve import find_network, is_there, shelf_of
from lenet.registry.versions import Version

JUDGED_ON = "lenet.judged_on"
"""Tag of a version: digest of the test images that the newest verdict on it stands on."""


@dataclass(frozen=True)
class GateResult:
    """A verdict and what it stands on.

    Attributes:
        verdict: the gate's.
        title: who was compared with whom on what, as a line.
        test_digest: of the test images.
        reference: sha256 of the weights that never change, or None.
    """

    verdict: GateDecision
    title: str
    test_digest: str
    reference: str | None


def judge(
    shelf: RegisteredModel,
    params: Params,
    candidate: Version,
    champion: Version | None,
    reason: str | None,
    tell: Callable[[str], None],
) -> GateResult:
    """Judge a version, every byte of which is checked before it is loaded; the rest as `judge_network`.

    Raises:
        LenetError: a version is not what was registered, or reads another data set.
    """
    return judge_network(shelf, params, shelf.check(candidate), champion, reason, tell)


def judge_network(
    shelf: RegisteredModel,
    params: Params,
    challenger: TrainedModel,
    champion: Version | None,
    reason: str | None,
    tell: Callable[[str], None],
) -> GateResult:
    """Read the test images anew with each network, and decide; nothing is written.

    Args:
        shelf: the registered model.
        params: the data set and the gate's thresholds.
        challenger: the network that wants to be champion, registered or not.
        champion: the version that is, or None.
        reason: why the champion should go even for one that is no better, or None.
        tell: takes a line for the user.

    Raises:
        LenetError: a network is not what is on record, or reads another data set.
    """
    other = shelf.network(champion, tell) if champion else None
    reference = _reference(shelf, params.gate.reference, challenger, tell)
    networks = [network for network in (challenger, other, reference) if network is not None]
    for network in networks:
        if network.config.data.name != params.data:
            raise LenetError(f"{network.name}: reads {network.config.data.name}; the gate's images are {params.data}'s")
    test = read_test(shelf.project, params.data)
    tell(f"reading {len(test.labels):,} test images of {test.name} with {', '.join(one.name for one in networks)}")
    verdict = decide(
        test.labels,
        score(challenger, test),
        score(other, test) if other else None,
        score(reference, test) if reference else None,
        params.gate,
        reason=reason,
        gate_uses=count_gate_uses(
            [*shared_history(shelf), *other_models(shelf)],
            shelf.versions,
            test.digest,
            (challenger.weights_sha256, other.weights_sha256 if other else None),
        ),
    )
    return GateResult(
        verdict, _title(challenger, other, test), test.digest, reference.weights_sha256 if reference else None
    )


def _reference(
    shelf: RegisteredModel, named: str | None, challenger: TrainedModel, tell: Callable[[str], None]
) -> TrainedModel | None:
    """Return the network that `gate.reference` names; None: none is named, or it is not here and this registry is new.

    A fork's job has a registry of its own, with nothing in it but what the job itself registers.
    """
    if not named:
        return None
    if is_there(shelf, named):
        return find_network(shelf, named, tell)
    own = shelf_of(shelf, named) or shelf
    versions = [*shelf.versions, *own.versions]
    if all(one in shelf.of_run(challenger.fingerprint, challenger.weights_sha256) for one in versions):
        having = "has nothing but the challenger" if versions else "is empty"
        tell(f"gate.reference {named}: is not in this registry, which {having}; judged by the floor alone")
        return None
    return find_network(shelf, named, tell)  # which says what there is


def count_gate_uses(
    entries: Sequence[HistoryEntry], versions: Sequence[Version], test_digest: str, pair: tuple[str | None, str | None]
) -> int:
    """Return how many other comparisons were judged by these images; the same question asked again is none.

    Counted are the pairs of weights in the history, and the versions of which a tag alone says that they were judged:
    the entry of a home that is gone may have gone with another version. An entry that cannot be read counts as one.
    """
    judged = [one for one in entries if one.action in JUDGING and one.test_digest == test_digest]
    pairs = {one.pair for one in judged} - {pair}
    here = {one.pair[0] for one in judged} | {pair[0]}
    elsewhere = {one.weights_sha256 for one in versions if one.tags.get(JUDGED_ON) == test_digest} - here
    return len(pairs) + len(elsewhere) + sum(one.action == "damaged" for one in entries)


def _title(challenger: TrainedModel, champion: TrainedModel | None, test: TestSet) -> str:
    against = f"against {champion.name}" if champion else "with no champion to beat yet"
    return f"{challenger.name} {against}, on {len(test.labels):,} test images of {test.name}"
