"""Change the champion so that the change is made as a whole or not at all, wherever the process is killed.

The intent (`history`) is written first. Then the aliases move one at a time, and `champion` never points nowhere. A
command that finds an intent completes the change: each of its steps can be repeated. Where the new champion is not what
was registered any more, or somebody moved an alias meanwhile, the change is undone instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from lenet.core.errors import DamagedError, LenetError
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.registry.history import (
    FOLDER,
    INTENT,
    Action,
    HistoryEntry,
    close_intent,
    half_written_intents,
    history_tag,
    next_number,
    now,
    read_history,
    read_intent,
    version_ref,
    who,
    write_intent,
)
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, Version
from lenet.tracking.store import open_store
from lenet.tracking.store_errors import store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

ChangedTags = dict[str, dict[str, str | None]]
"""By version number, tags to set; None removes one."""

LOCK = "registry.lock"
"""In the home: held by a command that changes the registry. Machines that share a server have one each."""

VERDICT_TAG = "lenet.verdict"
"""The last decision about a version, in a few words."""

REPLACED_TAG = "lenet.replaced"
"""Number of the champion that a version replaced."""

PROMOTED_TAGS = ("lenet.promoted_at", "lenet.promoted_by")
ROLLED_BACK_TAGS = ("lenet.rolled_back_at", "lenet.rolled_back_by")

ORDER = (PREVIOUS, CHAMPION, CHALLENGER)
"""Of the aliases: `previous` is set before it may be needed, and a challenger is one until it is the champion."""


@contextmanager
def registry_locked(project: Project) -> Iterator[None]:
    """Hold the registry of this home for the length of the block."""
    with locked(project.home / LOCK, lambda pid: logger.info(f"waiting for process {pid}, which changes the registry")):
        yield


def new_entry(
    registry: RegisteredModel, action: Action, new: Version, old: Version | None = None, reason: str | None = None
) -> HistoryEntry:
    """Return the entry after those in the history, with the time and the user."""
    return HistoryEntry(
        number=next_number(read_history(registry.project)),
        action=action,
        model=registry.name,
        store=registry.store,
        when=now(),
        who=who(),
        old=version_ref(old) if old else None,
        new=version_ref(new),
        reason=reason,
    )


def promoted_tags(entry: HistoryEntry) -> dict[str, str | None]:
    """Return the tags that say who made a version champion, and when; it is not rolled back any more."""
    return dict.fromkeys(ROLLED_BACK_TAGS) | dict(zip(PROMOTED_TAGS, (entry.when, entry.who), strict=True))


def rolled_back_tags(entry: HistoryEntry) -> dict[str, str | None]:
    """Return the tags that say who rolled a version back, and when."""
    return dict(zip(ROLLED_BACK_TAGS, (entry.when, entry.who), strict=True))


def set_champion(registry: RegisteredModel, entry: HistoryEntry, version: Version, previous: Version | None) -> None:
    """Make a version the champion, and no challenger any more; the caller holds the lock.

    Args:
        registry: the registered model.
        entry: the change with its tags; its aliases are filled in here.
        version: the champion to be.
        previous: the version that `previous` then points to, or None.

    Raises:
        LenetError: the store cannot be reached; the next command completes the change.
    """
    entry.after.update({CHAMPION: version.number, PREVIOUS: previous.number if previous else None})
    if CHALLENGER in version.aliases:
        entry.after[CHALLENGER] = None
    entry.before.update({alias: _number(registry, alias) for alias in entry.after})
    apply(registry, entry)


def apply(registry: RegisteredModel, entry: HistoryEntry) -> None:
    """Write down a change, make it, and add it to the history; the caller holds the lock.

    Raises:
        LenetError: the store cannot be reached; the next command completes the change.
    """
    write_intent(registry.project, entry)
    _complete(registry, entry)


def recover(registry: RegisteredModel) -> HistoryEntry | None:
    """Complete or undo a change that a killed process left; the caller holds the lock.

    Returns:
        The entry that the history has of it now, or None where nothing was left.

    Raises:
        LenetError: the store cannot be reached, or the change belongs to another model or store.
    """
    for path in half_written_intents(registry.project):  # of processes that are gone: this one holds the lock
        path.unlink(missing_ok=True)
    entry = read_intent(registry.project)
    if entry is None:
        return None
    if (entry.model, entry.store) != (registry.name, registry.store):
        raise LenetError(
            f"{FOLDER}/{INTENT}: a change of {entry.model} in {entry.store} is not complete, this is {registry.name} in"
            f" {registry.store}; run the command with those, or delete the file to leave that registry as it is"
        )
    what = f"the {entry.action} of {entry.model} version {entry.new.version if entry.new else '?'} by {entry.who}"
    obstacle = _obstacle(registry, entry)
    if obstacle is None:
        _complete(registry, entry)
        logger.info(f"{what} was interrupted and is completed now")
        return entry
    _undo(registry, entry)
    undo = replace(entry, action="undo", when=now(), who=who(), reason=obstacle, before={}, after={}, tags={})
    write_intent(registry.project, undo)
    close_intent(registry.project, undo)
    logger.warning(f"{what} was interrupted and is undone: {obstacle}")
    return undo


def has_unfinished_change(project: Project) -> bool:
    """Say whether a change is being made, or was left by a killed process."""
    return (project.home / FOLDER / INTENT).is_file() or bool(half_written_intents(project))


def recover_if_needed(project: Project, model: str, uri: str | None = None) -> None:
    """Recover, taking the lock for it; costs nothing where nothing was left."""
    if has_unfinished_change(project):
        with registry_locked(project), RegisteredModel(project, model, uri) as registry:
            recover(registry)


def _complete(registry: RegisteredModel, entry: HistoryEntry) -> None:
    with store_errors(registry.uri, "run the command again, which completes the change"):
        client = open_store(registry.project, registry.uri)
        registry.refresh()
        _set_tags(client, registry, entry.tags)
        for alias in ORDER:
            if alias in entry.after:
                _move_alias(client, registry, alias, entry.after[alias])
        # The history's tag comes last: other homes take the change for done, and never see this home's intent.
        _set_tags(client, registry, _history_tags(entry))
    close_intent(registry.project, entry)
    registry.refresh()


def _obstacle(registry: RegisteredModel, entry: HistoryEntry) -> str | None:
    """Return why a change cannot be completed any more, or None."""
    for alias, before in entry.before.items():
        number = _number(registry, alias)
        if number not in {before, entry.after[alias]}:
            return f"{alias} was moved to version {number} since"
    target = entry.after.get(CHAMPION)
    if target is None:
        return None
    version = registry.by_number(target)
    if version is None:
        return f"version {target} was deleted"
    try:
        registry.verify(version)
    except DamagedError as error:
        return str(error)
    return None


def _undo(registry: RegisteredModel, entry: HistoryEntry) -> None:
    """Move the aliases back that a change has moved and nobody has since, and remove its tags; can be repeated."""
    with store_errors(registry.uri, "run the command again, which undoes the change"):
        client = open_store(registry.project, registry.uri)
        registry.refresh()
        for alias in reversed(ORDER):
            if alias not in entry.after or _number(registry, alias) != entry.after[alias]:
                continue
            before = entry.before[alias]
            if before is None or registry.by_number(before):
                _move_alias(client, registry, alias, before)
        for changed in (entry.tags, _history_tags(entry)):
            _set_tags(client, registry, {number: dict.fromkeys(tags) for number, tags in changed.items()})
    registry.refresh()


def _history_tags(entry: HistoryEntry) -> ChangedTags:
    return {entry.new.version: dict([history_tag(entry)])} if entry.new else {}


def _set_tags(client: MlflowClient, registry: RegisteredModel, tags: ChangedTags) -> None:
    for number, own in tags.items():
        version = registry.by_number(number)
        if version is None:
            continue
        for name, value in own.items():
            if value is None and name in version.tags:
                client.delete_model_version_tag(registry.name, number, name)
            elif value is not None and version.tags.get(name) != value:
                client.set_model_version_tag(registry.name, number, name, value)


def _move_alias(client: MlflowClient, registry: RegisteredModel, alias: str, number: str | None) -> None:
    now_at = _number(registry, alias)
    if number is None and now_at is not None:
        client.delete_registered_model_alias(registry.name, alias)
    elif number is not None and number != now_at:
        client.set_registered_model_alias(registry.name, alias, number)


def _number(registry: RegisteredModel, alias: str) -> str | None:
    version = registry.by_alias(alias)
    return version.number if version else None
