"""Changes of the registry that are made whole or not at all, wherever the process that makes them is killed.

The aliases move one at a time, each at once, and `champion` is never taken away before it points elsewhere. What is to
be done stands in the intent (`history`) before the first step; whoever finds one left behind takes the same steps
again, of which each may be taken twice, or takes them back where what was promoted is not what it was any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from lenet.core.errors import DamagedError, LenetError
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.registry.aliases_tags import set_alias, set_tags
from lenet.registry.history import (
    FOLDER,
    INTENT,
    HistoryEntry,
    close_intent,
    leftovers,
    now,
    read_intent,
    who,
    write_intent,
)
from lenet.registry.history_tags import change_tag, is_change
from lenet.registry.mlflow_registry import LOCK
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import CHALLENGER, CHAMPION, PREVIOUS
from lenet.tracking.store import open_store, store_errors

ORDER = (PREVIOUS, CHAMPION, CHALLENGER)
"""Of the aliases: the way back is there before it may be needed, and a challenger is one until it has won."""


@contextmanager
def registry_locked(project: Project, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the registry of this home for the length of the block."""
    with locked(project.home / LOCK, lambda holder: tell(f"process {holder} is at the registry; waiting for it")):
        yield


def apply(shelf: RegisteredModel, entry: HistoryEntry) -> None:
    """Write down a change, make it, and put it into the history, here and in the registry; the caller holds the lock.

    Raises:
        LenetError: the store cannot be reached; the next command completes the change.
    """
    if entry.new is not None:
        name, value = change_tag(entry)
        entry.tags.setdefault(entry.new.version, {})[name] = value
    write_intent(shelf.project, entry)
    _complete(shelf, entry)


def recover(shelf: RegisteredModel, tell: Callable[[str], None]) -> HistoryEntry | None:
    """Complete a change that was left half made, or take it back; the caller holds the lock.

    Returns:
        The change as the history has it now, or None where nothing was left.

    Raises:
        LenetError: the store cannot be reached, or another one than the change's is asked for.
    """
    for left in leftovers(shelf.project):  # of processes that are gone: the lock is held here
        left.unlink(missing_ok=True)
    entry = read_intent(shelf.project)
    if entry is None:
        return None
    if (entry.model, entry.store) != (shelf.model, shelf.store):
        raise LenetError(
            f"{FOLDER}/{INTENT}: a change of {entry.model} in {entry.store} is half made, this is {shelf.model} in"
            f" {shelf.store}; ask with those, or delete the file to leave it as it is"
        )
    what = f"{entry.action} of {entry.model} version {entry.new.version if entry.new else '?'} ({entry.who})"
    why = _obstacle(shelf, entry)
    if why is not None:
        entry = _taken_back(shelf, entry, why)
        write_intent(shelf.project, entry)
    _complete(shelf, entry)
    tell(f"{what}: was interrupted, {'is complete now' if why is None else f'is taken back: {why}'}")
    return entry


def is_unsettled(project: Project) -> bool:
    """Say whether a change is half made or half written, or being made."""
    return (project.home / FOLDER / INTENT).is_file() or bool(leftovers(project))


def settle_left(project: Project, model: str, tell: Callable[[str], None], uri: str | None = None) -> None:
    """Settle as `recover` does, taking the lock for it; costs nothing where nothing was left."""
    if is_unsettled(project):
        with registry_locked(project, tell), RegisteredModel(project, model, uri) as shelf:
            recover(shelf, tell)


def _complete(shelf: RegisteredModel, entry: HistoryEntry) -> None:
    with store_errors(shelf.uri, "ask again: the change is completed then"):
        client = open_store(shelf.project, shelf.uri)
        shelf.look()

        def tag(is_record: bool) -> None:
            for number, tags in entry.tags.items():
                version = shelf.numbered(number)
                if version is not None:
                    asked = {name: value for name, value in tags.items() if is_change(name) == is_record}
                    set_tags(client, version, asked)

        tag(is_record=False)
        for alias in ORDER:
            if alias in entry.after:
                set_alias(client, shelf.model, alias, shelf.holder(alias), entry.after[alias])
        tag(is_record=True)  # last: others take it for done, and may never see this home's intent
    close_intent(shelf.project, entry)
    shelf.look()


def _obstacle(shelf: RegisteredModel, entry: HistoryEntry) -> str | None:
    """Say why a change cannot be completed any more, or None where it can be."""
    for alias, before in entry.before.items():
        holder = shelf.holder(alias)
        number = holder.number if holder else None
        if number not in {before, entry.after[alias]}:
            return f"{alias} was moved to version {number} since"
    target = entry.after.get(CHAMPION)
    if target is None or entry.action == "undo":
        return None
    version = shelf.numbered(target)
    if version is None:
        return f"version {target} is not there any more"
    try:
        shelf.check(version)
    except DamagedError as error:
        return str(error)
    return None


def _taken_back(shelf: RegisteredModel, entry: HistoryEntry, why: str) -> HistoryEntry:
    """Return the change that undoes a half-made one, as far as nobody has moved an alias since."""
    undo = replace(entry, action="undo", when=now(), who=who(), reason=why, before={}, after={}, tags={})
    if entry.action == "undo":
        return undo
    for alias, before in entry.before.items():
        holder = shelf.holder(alias)
        number = holder.number if holder else None
        if number == entry.after[alias] and (before is None or shelf.numbered(before)):
            undo.before[alias], undo.after[alias] = number, before
    for version, tags in entry.tags.items():
        undo.tags[version] = dict.fromkeys(tags)
    return undo
