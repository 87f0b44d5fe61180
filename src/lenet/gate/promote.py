"""`lenet promote`: make a version the champion where the gate lets it through, and record the evidence."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from lenet.config.params import Params
from lenet.core.errors import DamagedError, LenetError
from lenet.core.project import Project
from lenet.gate.evaluate import GateResult, check_data, judge
from lenet.registry.changes import (
    REPLACED_TAG,
    ROLLED_BACK_TAGS,
    VERDICT_TAG,
    apply,
    new_entry,
    promoted_tags,
    recover,
    registry_locked,
    set_champion,
)
from lenet.registry.history import HistoryEntry, check_reason, last_champion, shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.rollback import rolled_back_version
from lenet.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Version

logger = logging.getLogger(__name__)

JUDGED_ON_TAG = "lenet.judged_on"
"""Tag of a version: digest of the test images of the gate's last decision about it."""


@dataclass(frozen=True)
class PromotionResult:
    """Result of a promotion.

    Attributes:
        done: the version is the champion.
        lines: what happened and why, for a terminal.
        gate: the gate's decision, where it was consulted.
    """

    done: bool
    lines: tuple[str, ...]
    gate: GateResult | None = None


def promote(project: Project, params: Params, name: str | None, reason: str | None) -> PromotionResult:
    """Make a version champion where the gate lets it through; for the champion itself nothing is done.

    Args:
        project: the project.
        params: the model's name, the data set, the gate's thresholds.
        name: a version as `RegisteredModel.find_version` takes it; None: the challenger.
        reason: why the champion should be replaced by one that is no better, or None.

    Raises:
        ConfigError: the reason is too long.
        LenetError: there is no such version, it is not what was registered, or the store cannot be reached; or this is
            a DVC experiment.
    """
    check_reason(reason)
    project.refuse_experiment("lenet promote")
    with registry_locked(project), RegisteredModel(project, params.register.model) as registry:
        recover(registry)
        champion = registry.by_alias(CHAMPION)
        candidate = registry.find_version(name) if name else registry.by_alias(CHALLENGER)
        if candidate is None:
            if champion is None:
                raise LenetError(f"{registry.name}: has neither champion nor challenger; `lenet register` makes one")
            return PromotionResult(True, (f"{champion.title} is the champion; there is no challenger",))
        if champion is not None and candidate.number == champion.number:
            return PromotionResult(True, (f"{champion.title} is the champion already",))
        check_data(candidate.title, candidate.tags.get("lenet.data", params.data), params.data)
        _check_not_rolled_back(registry, candidate, reason)
        if champion is not None and candidate.weights_sha256 == champion.weights_sha256:
            return _repair(registry, candidate, champion)
        return _judge_and_promote(registry, params, candidate, champion, reason)


def ensure_champion(project: Project, params: Params, number: str, uri: str) -> PromotionResult | None:
    """Where the model has no champion, have the gate judge a version; None: it has one.

    A registry that lost its champion, with its database or by hand, gets the one back that the history names.

    Raises:
        LenetError: as `promote`.
    """
    with registry_locked(project), RegisteredModel(project, params.register.model, uri) as registry:
        recover(registry)
        if registry.by_alias(CHAMPION) is not None:
            return None
        lost = _lost_champion(registry)
        if lost is None:
            return _judge_and_promote(registry, params, registry.find_version(number), None, None)
        registry.verify(lost)
        entry = new_entry(registry, "restore", lost)
        entry.tags[lost.number] = {VERDICT_TAG: "restored: was champion before it was lost"}
        set_champion(registry, entry, lost, registry.by_alias(PREVIOUS))
        return PromotionResult(True, (f"{lost.title} is the champion again, as before it was lost",))


def _lost_champion(registry: RegisteredModel) -> Version | None:
    """Return the version that the history names as champion, unless its run was rolled back since."""
    ref = last_champion(shared_history(registry))
    if ref is None or rolled_back_version(registry.by_run(ref.fingerprint, ref.weights_sha256)):
        return None
    return next((one for one in reversed(registry.versions) if one.weights_sha256 == ref.weights_sha256), None)


def _check_not_rolled_back(registry: RegisteredModel, candidate: Version, reason: str | None) -> None:
    found = rolled_back_version(registry.by_run(candidate.fingerprint, candidate.weights_sha256))
    if found is not None and reason is None:
        when, by = (found.tags.get(name, "?") for name in ROLLED_BACK_TAGS)
        twin = "" if found.number == candidate.number else f"is of the same run as version {found.number}, which "
        raise LenetError(
            f"{candidate.title}: {twin}was rolled back by {by} at {when}; to promote it again, state a --reason"
        )


def _repair(registry: RegisteredModel, candidate: Version, champion: Version) -> PromotionResult:
    """Move the champion's alias to a version with the same weights, where the champion's own files are damaged."""
    registry.verify(candidate)
    try:
        registry.verify(champion)
    except DamagedError as error:
        logger.warning(str(error))
    else:
        return PromotionResult(True, (f"{candidate.title} has the weights of the champion, version {champion.number}",))
    entry = new_entry(registry, "repair", candidate, champion)
    entry.tags[candidate.number] = {
        VERDICT_TAG: f"repaired: has the weights of version {champion.number}",
        REPLACED_TAG: champion.tags.get(REPLACED_TAG),
        **promoted_tags(entry),
    }
    set_champion(registry, entry, candidate, registry.by_alias(PREVIOUS))
    return PromotionResult(True, (f"{candidate.title} replaces version {champion.number}, whose weights it has",))


def _judge_and_promote(
    registry: RegisteredModel, params: Params, candidate: Version, champion: Version | None, reason: str | None
) -> PromotionResult:
    found = judge(registry, params, registry.verify(candidate), champion, reason)
    registry.refresh()
    now_champion = registry.by_alias(CHAMPION)
    if (now_champion and now_champion.number) != (champion and champion.number):  # by another machine at this server
        raise LenetError(f"{registry.name}: the champion was changed by another command; run this one again")
    entry = replace(
        new_entry(registry, "promote" if found.decision.promote else "refuse", candidate, champion, reason),
        test_digest=found.test_digest,
        reference=found.reference,
        verdict=found.decision.to_dict(),
    )
    record = _record_promotion if found.decision.promote else _record_refusal
    return PromotionResult(found.decision.promote, (*found.lines, record(registry, entry, candidate, champion)), found)


def _record_promotion(
    registry: RegisteredModel, entry: HistoryEntry, candidate: Version, champion: Version | None
) -> str:
    why = " ".join(entry.reason.split()) if entry.reason else ("better" if champion else "first champion")
    for twin in registry.by_run(candidate.fingerprint, candidate.weights_sha256):
        if ROLLED_BACK_TAGS[0] in twin.tags:
            entry.tags[twin.number] = dict.fromkeys(ROLLED_BACK_TAGS)
    entry.tags[candidate.number] = {
        VERDICT_TAG: f"promoted: {why}",
        REPLACED_TAG: champion.number if champion else None,
        JUDGED_ON_TAG: entry.test_digest,
        **promoted_tags(entry),
    }
    set_champion(registry, entry, candidate, champion or registry.by_alias(PREVIOUS))
    previous = f", version {champion.number} the previous one" if champion else ""
    return f"promoted: version {candidate.number} is the champion{previous}"


def _record_refusal(
    registry: RegisteredModel, entry: HistoryEntry, candidate: Version, champion: Version | None
) -> str:
    assert entry.verdict is not None
    failed = ", ".join(check["name"] for check in entry.verdict["checks"] if not check["passed"])
    if not any(_is_same_refusal(entry, other) for other in shared_history(registry)):
        entry.tags[candidate.number] = {VERDICT_TAG: f"refused: {failed}", JUDGED_ON_TAG: entry.test_digest}
        apply(registry, entry)
    stays = f"version {champion.number} stays the champion" if champion else "there is no champion yet"
    return f"refused ({failed}): {stays}"


def _is_same_refusal(one: HistoryEntry, other: HistoryEntry) -> bool:
    """Return whether two refusals answer the same question, which the history records once."""

    def question(entry: HistoryEntry) -> tuple[object, ...]:
        thresholds = (entry.verdict or {}).get("thresholds")
        return entry.action, entry.pair, entry.test_digest, entry.reference, entry.reason, thresholds

    return question(one) == question(other)
