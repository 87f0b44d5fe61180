"""`lenet promote`: a version becomes champion where the gate lets it through, with the evidence written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lenet.config.params import Params
from lenet.core.errors import DamagedError, LenetError
from lenet.core.project import Project
from lenet.gate.evaluate import JUDGED_ON, GateResult, judge
from lenet.registry.alias_changes import REPLACED, ROLLED_BACK, VERDICT, new_entry, set_champion, signature
from lenet.registry.history import HistoryEntry, check_reason, last_champion
from lenet.registry.history_tags import shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.transaction import apply, recover, registry_locked
from lenet.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Version

Tell = Callable[[str], None]


@dataclass(frozen=True)
class PromotionResult:
    """What came of a request to change the champion.

    Attributes:
        done: the registry is as was asked for.
        lines: what happened and why.
        judgement: what the gate found, where it was asked.
    """

    done: bool
    lines: tuple[str, ...]
    judgement: GateResult | None = None


def promote(project: Project, params: Params, name: str | None, reason: str | None, tell: Tell) -> PromotionResult:
    """Make a version champion where the gate lets it through; asked for the champion itself, nothing is done.

    Args:
        project: where things are.
        params: the model's name, the data set, the gate's thresholds.
        name: a version as `RegisteredModel.find` takes it; None: the challenger.
        reason: why the champion should go even for one that is no better, or None.
        tell: takes a line for the user.

    Raises:
        ConfigError: the reason is too long.
        LenetError: there is no such version, it is not what was registered, or the store cannot be reached; or this is
            an experiment of DVC's.
    """
    check_reason(reason)
    project.refuse_experiment("lenet promote")
    with registry_locked(project, tell), RegisteredModel(project, params.register.model) as shelf:
        recover(shelf, tell)
        champion = shelf.holder(CHAMPION)
        candidate = shelf.find(name) if name else shelf.holder(CHALLENGER)
        if candidate is None:
            if champion is None:
                raise LenetError(f"{shelf.model}: has neither champion nor challenger; `lenet register` makes one")
            return PromotionResult(True, (f"{champion.title} is the champion; there is no challenger",))
        if champion is not None and candidate.number == champion.number:
            return PromotionResult(True, (f"{champion.title} is the champion already",))
        _check_admission(shelf, candidate, params.data, reason)
        if champion is not None and candidate.weights_sha256 == champion.weights_sha256:
            return _repair(shelf, candidate, champion, tell)
        return _judge_and_change(shelf, params, candidate, champion, reason, tell)


def ensure_champion(project: Project, params: Params, number: str, uri: str, tell: Tell) -> PromotionResult | None:
    """Where the model has no champion, have the gate judge a version; None: it has one.

    A registry that lost its champion, with its database or by hand, gets the one back that the history names.

    Raises:
        LenetError: as `promote`.
    """
    with registry_locked(project, tell), RegisteredModel(project, params.register.model, uri) as shelf:
        recover(shelf, tell)
        if shelf.holder(CHAMPION) is not None:
            return None
        lost = last_champion(shared_history(shelf), shelf.model, shelf.store)
        known = [one for one in shelf.versions if lost and one.weights_sha256 == lost.weights_sha256]
        if lost and rolled_back_version(shelf.of_run(lost.fingerprint, lost.weights_sha256)):
            known = []  # what came in its place is gone with its version: the gate is asked
        if not known:
            return _judge_and_change(shelf, params, shelf.find(number), None, None, tell)
        shelf.check(known[-1])
        entry = new_entry(shelf, "restore", known[-1])
        entry.tags[known[-1].number] = {VERDICT: "restored: was champion before it was lost"}
        set_champion(shelf, entry, known[-1], _number(shelf.holder(PREVIOUS)))
        return PromotionResult(True, (f"{known[-1].title} is the champion again, as before it was lost",))


def rolled_back_version(versions: Sequence[Version]) -> Version | None:
    """Return the newest of some versions that was rolled back, or None."""
    return next((one for one in reversed(versions) if ROLLED_BACK[0] in one.tags), None)


def _check_admission(shelf: RegisteredModel, candidate: Version, data: str, reason: str | None) -> None:
    tags = candidate.tags
    if tags.get("lenet.data", data) != data:
        raise LenetError(f"{candidate.title}: reads {tags['lenet.data']}; the gate's images are {data}'s")
    deposed = rolled_back_version(shelf.of_run(candidate.fingerprint, candidate.weights_sha256))
    if deposed is not None and reason is None:
        when, by = (deposed.tags.get(name, "?") for name in ROLLED_BACK)
        twin = "" if deposed.number == candidate.number else f"is of the same run as version {deposed.number}, which "
        raise LenetError(
            f"{candidate.title}: {twin}was rolled back by {by} at {when}; to promote it again, say why with --reason"
        )


def _repair(shelf: RegisteredModel, candidate: Version, champion: Version, tell: Tell) -> PromotionResult:
    """Move the champion's alias to a version with the same weights, where its own files are damaged."""
    shelf.check(candidate)
    try:
        shelf.check(champion)
    except DamagedError as error:
        tell(str(error))
    else:
        return PromotionResult(True, (f"{candidate.title} has the weights of the champion, version {champion.number}",))
    entry = new_entry(shelf, "repair", candidate, champion)
    entry.tags[candidate.number] = {
        VERDICT: f"repaired: has the weights of version {champion.number}",
        REPLACED: champion.tags.get(REPLACED),
        **signature(entry),
    }
    set_champion(shelf, entry, candidate, _number(shelf.holder(PREVIOUS)))
    return PromotionResult(
        True, (f"{candidate.title} takes the place of version {champion.number}, whose weights it has",)
    )


def _judge_and_change(
    shelf: RegisteredModel, params: Params, candidate: Version, champion: Version | None, reason: str | None, tell: Tell
) -> PromotionResult:
    found = judge(shelf, params, candidate, champion, reason, tell)
    shelf.look()
    if _number(shelf.holder(CHAMPION)) != _number(champion):  # a server may be changed from elsewhere
        raise LenetError(f"{shelf.model}: somebody else changed the champion meanwhile; ask again")
    entry = replace(
        new_entry(shelf, "promote" if found.verdict.promote else "refuse", candidate, champion, reason),
        test_digest=found.test_digest,
        reference=found.reference,
        verdict=found.verdict.tree(),
    )
    lines = (found.title, *(f"  {line}" for line in found.verdict.lines()[1:]))
    if found.verdict.promote:
        return PromotionResult(True, (*lines, _crown_candidate(shelf, entry, candidate, champion)), found)
    return PromotionResult(False, (*lines, _refuse(shelf, entry, candidate, champion, found)), found)


def _crown_candidate(shelf: RegisteredModel, entry: HistoryEntry, candidate: Version, champion: Version | None) -> str:
    why = " ".join(entry.reason.split()) if entry.reason else ("better" if champion else "first champion")
    entry.tags[candidate.number] = {
        VERDICT: f"promoted: {why}",
        REPLACED: _number(champion),
        JUDGED_ON: entry.test_digest,
        **signature(entry),
    }
    for twin in shelf.of_run(candidate.fingerprint, candidate.weights_sha256):
        if twin.number != candidate.number and ROLLED_BACK[0] in twin.tags:  # it is the network that comes back
            entry.tags[twin.number] = dict.fromkeys(ROLLED_BACK)
    set_champion(shelf, entry, candidate, _number(champion or shelf.holder(PREVIOUS)))
    was = f", version {champion.number} the previous one" if champion else ""
    return f"promoted: version {candidate.number} is the champion{was}"


def _refuse(
    shelf: RegisteredModel, entry: HistoryEntry, candidate: Version, champion: Version | None, found: GateResult
) -> str:
    failed = ", ".join(check.name for check in found.verdict.reasons if not check.passed)
    if not any(_is_same_question(entry, other) for other in shared_history(shelf)):
        entry.tags[candidate.number] = {VERDICT: f"refused: {failed}", JUDGED_ON: entry.test_digest}
        apply(shelf, entry)
    stays = f"version {champion.number} stays the champion" if champion else "there is no champion yet"
    return f"refused ({failed}): {stays}"


def _is_same_question(one: HistoryEntry, other: HistoryEntry) -> bool:
    """Say whether two refusals answered the same: its answer is in the history once."""

    def question(entry: HistoryEntry) -> tuple[object, ...]:
        thresholds = (entry.verdict or {}).get("thresholds")
        return entry.action, entry.pair, entry.test_digest, entry.reference, entry.reason, thresholds

    return question(one) == question(other)


def _number(version: Version | None) -> str | None:
    return version.number if version else None
