"""The history as every machine sees it: a change is a tag of the version it is about too, where the registry is.

A home knows what was changed from it. Of what was changed from elsewhere it knows by the tags, which go when their
version is deleted: the home's own files are the longer memory, the registry's tags the wider one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from lenet.core.atomic_io import canonical_json, sha256_bytes
from lenet.core.errors import DamagedError
from lenet.registry.history import HistoryEntry, parse_entry, read_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import Version

TAG = "lenet.change."
"""Start of the tags' names; then when it was, and a few digits that tell apart what was in the same second."""

ELSEWHERE = 0
"""Number of an entry that another home has the file of."""

DIGITS = 8
OWN = ("number", "before", "after", "tags")
"""Of the home that makes the change, and of the moment: no part of what the others are told."""


def change_tag(entry: HistoryEntry) -> tuple[str, str]:
    """Return name and value of the tag by which a change is known wherever the registry is.

    Args:
        entry: about a version that is there.
    """
    body: dict[str, Any] = {name: value for name, value in asdict(entry).items() if name not in OWN}
    text = canonical_json(body)
    moment = "".join(character for character in entry.when if character.isalnum())
    return f"{TAG}{moment}-{sha256_bytes(text.encode())[:DIGITS]}", text


def shared_history(shelf: RegisteredModel) -> list[HistoryEntry]:
    """Return what became of the model's champion, in the order of the machines' clocks: from this home and from others.

    An entry of another home has the number `ELSEWHERE`; one that cannot be read is there as `damaged`.
    """
    tagged = {name: entry for name, entry in _tagged(shelf) if entry.model == shelf.model}
    found = []
    for entry in read_history(shelf.project):
        if entry.model in {shelf.model, ""}:
            name = "" if entry.action == "damaged" else change_tag(entry)[0]
            # What this registry remembers was done in it, whatever it was called then.
            found.append(replace(entry, store=shelf.store) if tagged.pop(name, None) else entry)
    for entry in sorted(tagged.values(), key=lambda entry: entry.when):
        later = (place for place, other in enumerate(found) if other.when > entry.when)
        found.insert(next(later, len(found)), entry)
    return found


def _tagged(shelf: RegisteredModel) -> Iterator[tuple[str, HistoryEntry]]:
    """Give the entries that the versions' tags are; a version that was copied has those of its original."""
    for version in shelf.versions:
        for name, value in version.tags.items():
            if is_change(name):
                yield name, replace(_read(version, name, value), store=shelf.store)


def _read(version: Version, name: str, value: str) -> HistoryEntry:
    where = f"{version.label}: its tag {name}"
    try:
        entry = parse_entry({**json.loads(value), "number": ELSEWHERE}, where)
        datetime.fromisoformat(entry.when)
        if change_tag(entry)[0] == name:  # the name is the content's seal
            return entry
    except (ValueError, TypeError, RecursionError, DamagedError):
        pass
    return HistoryEntry(ELSEWHERE, "damaged", version.model, "", "", "", reason=f"{where} is not what was written")


def other_models(shelf: RegisteredModel) -> list[HistoryEntry]:
    """Return the entries of this home that are about other models: they may have used the same images."""
    return [entry for entry in read_history(shelf.project) if entry.model not in {shelf.model, ""}]


def is_change(tag: str) -> bool:
    """Say whether a version's tag is an entry of the history."""
    return tag.startswith(TAG)
