"""Entries for the history, from the versions they are about; and the change that makes a version the champion."""

from __future__ import annotations

from lenet.registry.history import Action, HistoryEntry, VersionRef, next_number, now, read_history, who
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.transaction import apply
from lenet.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Version

VERDICT = "lenet.verdict"
"""Tag: what was decided last, in a few words."""

REPLACED = "lenet.replaced"
"""Tag: number of the version whose place this one took."""

PROMOTED = ("lenet.promoted_at", "lenet.promoted_by")
ROLLED_BACK = ("lenet.rolled_back_at", "lenet.rolled_back_by")


def new_entry(
    shelf: RegisteredModel, action: Action, new: Version, old: Version | None = None, reason: str | None = None
) -> HistoryEntry:
    """Return an entry that comes after those in the history, signed with the time and the user."""
    return HistoryEntry(
        number=next_number(read_history(shelf.project)),
        action=action,
        model=shelf.model,
        store=shelf.store,
        when=now(),
        who=who(),
        old=_party(old) if old else None,
        new=_party(new),
        reason=reason,
    )


def set_champion(shelf: RegisteredModel, entry: HistoryEntry, version: Version, previous: str | None) -> None:
    """Carry out an entry that makes a version the champion, and no challenger any more; the caller holds the lock.

    Args:
        shelf: the registered model.
        entry: with the tags to be set; its aliases are filled in here.
        version: the champion to be.
        previous: number of the version that `previous` points to then, or None.

    Raises:
        LenetError: the store cannot be reached; the next command completes the change.
    """
    entry.after.update({CHAMPION: version.number, PREVIOUS: previous})
    if CHALLENGER in version.aliases:
        entry.after[CHALLENGER] = None
    for alias in entry.after:
        holder = shelf.holder(alias)
        entry.before[alias] = holder.number if holder else None
    apply(shelf, entry)


def signature(entry: HistoryEntry) -> dict[str, str | None]:
    """Return the tags that say who made a version champion, and when; it is not rolled back any more."""
    signed: dict[str, str | None] = dict.fromkeys(ROLLED_BACK)
    return signed | dict(zip(PROMOTED, (entry.when, entry.who), strict=True))


def _party(version: Version) -> VersionRef:
    tags = version.tags
    return VersionRef(
        version=version.number,
        variant=tags.get("lenet.variant", ""),
        seed=tags.get("lenet.seed", ""),
        fingerprint=version.fingerprint,
        weights_sha256=version.weights_sha256,
        git_commit=tags.get("lenet.git_commit", ""),
        data_digest=tags.get("lenet.data_digest", ""),
    )
