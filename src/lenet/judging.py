"""The evidence for a promotion: challenger, champion and reference read the same test images, and the gate decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lenet.errors import LenetError
from lenet.evaluation.rescoring import DigitSet, TrainedNetwork, read_test, score
from lenet.history import JUDGING, Entry, read_history
from lenet.lookup import find_network
from lenet.pipeline import Params
from lenet.promotion import decide
from lenet.shelf import Shelf
from lenet.tracking.versions import Version
from lenet.verdict import Verdict

JUDGED_ON = "lenet.judged_on"
"""Tag of a version: digest of the test images that the newest verdict on it stands on."""


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it stands on.

    Attributes:
        verdict: the gate's.
        title: who was compared with whom on what, as a line.
        test_digest: of the test images.
        reference: sha256 of the weights that never change, or None.
    """

    verdict: Verdict
    title: str
    test_digest: str
    reference: str | None


def judge(
    shelf: Shelf,
    params: Params,
    candidate: Version,
    champion: Version | None,
    reason: str | None,
    tell: Callable[[str], None],
) -> Judgement:
    """Judge a version, every byte of which is checked before it is loaded; the rest as `judge_network`.

    Raises:
        LenetError: a version is not what was registered, or reads another data set.
    """
    source = shelf.check(candidate)
    challenger = TrainedNetwork(candidate.title, source.config, source.weights, candidate.weights_sha256)
    return judge_network(shelf, params, challenger, champion, reason, tell)


def judge_network(
    shelf: Shelf,
    params: Params,
    challenger: TrainedNetwork,
    champion: Version | None,
    reason: str | None,
    tell: Callable[[str], None],
) -> Judgement:
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
    named = params.gate.reference
    reference = find_network(shelf, named, tell) if named else None
    networks = [network for network in (challenger, other, reference) if network is not None]
    for network in networks:
        if network.config.data.name != params.data:
            raise LenetError(
                f"{network.label}: reads {network.config.data.name}; the gate's images are {params.data}'s"
            )
    test = read_test(shelf.project, params.data)
    tell(f"reading {len(test.labels):,} test images of {test.name} with {', '.join(one.label for one in networks)}")
    verdict = decide(
        test.labels,
        score(challenger, test),
        score(other, test) if other else None,
        score(reference, test) if reference else None,
        params.gate,
        reason=reason,
        gate_uses=count_gate_uses(
            read_history(shelf.project),
            shelf.versions,
            test.digest,
            (challenger.sha256, other.sha256 if other else None),
        ),
    )
    return Judgement(verdict, _title(challenger, other, test), test.digest, reference.sha256 if reference else None)


def count_gate_uses(
    entries: Sequence[Entry], versions: Sequence[Version], test_digest: str, pair: tuple[str | None, str | None]
) -> int:
    """Return how many other comparisons were judged by these images; the same question asked again is none.

    Counted are the pairs of weights in the history, and the versions of which only the registry knows that they were
    judged: a server's other machines have histories of their own. An entry that cannot be read counts as one.
    """
    judged = [one for one in entries if one.action in JUDGING and one.test_digest == test_digest]
    pairs = {one.pair for one in judged} - {pair}
    here = {one.pair[0] for one in judged} | {pair[0]}
    elsewhere = {one.weights_sha256 for one in versions if one.tags.get(JUDGED_ON) == test_digest} - here
    return len(pairs) + len(elsewhere) + sum(one.action == "damaged" for one in entries)


def _title(challenger: TrainedNetwork, champion: TrainedNetwork | None, test: DigitSet) -> str:
    against = f"against {champion.label}" if champion else "with no champion to beat yet"
    return f"{challenger.label} {against}, on {len(test.labels):,} test images of {test.name}"
