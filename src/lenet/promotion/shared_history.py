"""The history as every machine sees it: a change is a tag of the version it is about too, where the registry is.

A home knows what was changed from it. Of what was changed from elsewhere it knows by the tags, which go when their
version is deleted: the home's own files are the longer memory, the registry's tags the wider one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from lenet.durable import canonical_json, sha256_bytes
from lenet.errors import DamagedError
from lenet.promotion.history import Entry, parse_entry, read_history
from lenet.promotion.shelf import Shelf
from lenet.tracking.versions import Version

TAG = "lenet.change."
"""Start of the tags' names; then when it was, and a few digits that tell apart what was in the same second."""

ELSEWHERE = 0
"""Number of an entry that another home has the file of."""

DIGITS = 8
OWN = ("number", "before", "after", "tags")
"""Of the home that makes the change, and of the moment: no part of what the others are told."""


def change_tag(entry: Entry) -> tuple[str, str]:
    """Return name and value of the tag by which a change is known wherever the registry is.

    Args:
        entry: about a version that is there.
    """
    body: dict[str, Any] = {name: value for name, value in asdict(entry).items() if name not in OWN}
    text = canonical_json(body)
    moment = "".join(character for character in entry.when if character.isalnum())
    return f"{TAG}{moment}-{sha256_bytes(text.encode())[:DIGITS]}", text


def shared_history(shelf: Shelf) -> list[Entry]:
    """Return what became of the model's champion, in the order of time: this home's entries, and the others'.

    An entry of another home has the number `ELSEWHERE`; one that cannot be read is there as `damaged`.
    """
    here = [entry for entry in read_history(shelf.project) if entry.model in {shelf.model, ""}]
    known = {change_tag(entry)[0] for entry in here if entry.action != "damaged"}
    found = list(here)
    for entry in sorted(_elsewhere(shelf, known), key=lambda entry: entry.when):
        later = (place for place, other in enumerate(found) if other.when > entry.when)
        found.insert(next(later, len(found)), entry)
    return found


def _elsewhere(shelf: Shelf, known: set[str]) -> Iterator[Entry]:
    for version in shelf.versions:
        for name, value in version.tags.items():
            if name.startswith(TAG) and name not in known:
                # Wherever it was made from, and whatever the registry is called there: it is this one's.
                yield replace(_read(version, name, value), store=shelf.store)


def _read(version: Version, name: str, value: str) -> Entry:
    where = f"{version.label}: its tag {name}"
    try:
        body = json.loads(value)
        return parse_entry({**body, "number": ELSEWHERE}, where)
    except (ValueError, TypeError, DamagedError):
        return Entry(ELSEWHERE, "damaged", version.model, "", "", "", reason=f"{where} cannot be read")


def is_change(tag: str) -> bool:
    """Say whether a version's tag is an entry of the history."""
    return tag.startswith(TAG)
