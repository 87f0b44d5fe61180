"""The history of the champion: who changed it, when and why, as sealed files that are never changed.

promotions/
    intent.json           the change that is being made; gone when it is done
    0001-promote.json     the changes and refusals, in their order

A change is written to the intent before the registry is touched; afterwards a rename makes the intent the newest entry.
A process that dies in between leaves the intent, which has all that the next process needs to complete the change.

Each entry is also a tag of the version it is about, so that machines that share a registry see each other's changes.
Tags go when their version is deleted; the files of the home that made the change stay.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lenet.core.atomic_io import TEMPORARY_SUFFIX, canonical_json, read_json, sha256_bytes, sync_folder, write_json
from lenet.core.errors import ConfigError, DamagedError
from lenet.core.project import Project
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import Version
from lenet.runs import run_environment as environment

FOLDER = "promotions"
INTENT = "intent.json"
HISTORY_TAG = "lenet.change."
"""Start of the tags' names; then the time, and digits of the content's sha256."""

MAX_REASON = 2_000
"""Characters of a stated reason."""

CI_ACCOUNTS = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN")

Action = Literal["promote", "refuse", "rollback", "repair", "restore", "undo", "damaged"]
"""promote, refuse: decisions of the gate. repair: the same weights in a version with whole files. restore: after a lost
database. undo: a change that could not be completed. damaged: the entry cannot be read."""

CHAMPION_ACTIONS: tuple[Action, ...] = ("promote", "rollback", "repair", "restore")
"""Actions after which the entry's `new` is the champion."""

GATE_ACTIONS: tuple[Action, ...] = ("promote", "refuse")
"""Actions for which test images were used."""

LOCAL_FIELDS = ("number", "before", "after", "tags")
"""Fields of an entry that only the home which made the change needs."""

TAG_DIGITS = 8


@dataclass(frozen=True)
class VersionRef:
    """A version that an entry names, with what identifies its run, commit and data."""

    version: str
    variant: str
    seed: str
    fingerprint: str
    weights_sha256: str
    git_commit: str
    data_digest: str


@dataclass(frozen=True)
class HistoryEntry:
    """A change of the registry, or the gate's refusal to change it.

    Attributes:
        number: counted from 1; 0 for an entry that another home made.
        action: what was done.
        model: name of the registered model.
        store: the registry, without a password; a database in the home by its relative path.
        when: in UTC, as ISO 8601.
        who: user and host, or the account that started a CI job.
        old: the champion before, or None.
        new: the version it is about, or None.
        reason: what the user stated, or None.
        test_digest: digest of the test images that a decision used, or None.
        reference: sha256 of the reference's weights, or None.
        verdict: `GateDecision.to_dict()`, or None.
        before: by alias that the change moves, the number of its version; None: it pointed nowhere.
        after: the same after the change.
        tags: by version number, the tags that the change sets; None removes one.
    """

    number: int
    action: Action
    model: str
    store: str
    when: str
    who: str
    old: VersionRef | None = None
    new: VersionRef | None = None
    reason: str | None = None
    test_digest: str | None = None
    reference: str | None = None
    verdict: dict[str, Any] | None = None
    before: dict[str, str | None] = field(default_factory=dict)
    after: dict[str, str | None] = field(default_factory=dict)
    tags: dict[str, dict[str, str | None]] = field(default_factory=dict)

    @property
    def pair(self) -> tuple[str | None, str | None]:
        """The weights that a decision compared: those of `new` and `old`."""
        return self.new.weights_sha256 if self.new else None, self.old.weights_sha256 if self.old else None


def version_ref(version: Version) -> VersionRef:
    """Return what an entry keeps of a version."""
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


def now() -> str:
    """Return the time as ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def who() -> str:
    """Return user and host; in CI, where these say nothing, the account that started the job: `octocat (CI)`."""
    for variable in CI_ACCOUNTS:
        if os.environ.get(variable):
            return f"{os.environ[variable]} (CI)"
    return f"{environment.user()}@{platform.node()}"


def check_reason(reason: str | None) -> None:
    """Check that a reason fits tables and tags.

    Raises:
        ConfigError: it is too long.
    """
    if reason is not None and len(reason) > MAX_REASON:
        raise ConfigError(f"--reason: has {len(reason):,} characters; the limit is {MAX_REASON:,}")


def read_history(project: Project) -> list[HistoryEntry]:
    """Return this home's entries in their order; one that cannot be read has the action `damaged`."""
    entries = []
    for path in (project.home / FOLDER).glob("[0-9]*-*.json"):
        number = int(path.name.partition("-")[0])
        try:
            entries.append(replace(_parse(read_json(path), str(path)), number=number))
        except DamagedError:
            entries.append(_damaged(number, "", "its file cannot be read"))
    return sorted(entries, key=lambda entry: entry.number)


def shared_history(registry: RegisteredModel) -> list[HistoryEntry]:
    """Return the model's entries by time, those of other homes included, as the registry's tags have them."""
    tagged = {
        name: _parse_tag(registry, version, name, value)
        for version in registry.versions
        for name, value in version.tags.items()
        if name.startswith(HISTORY_TAG)
    }
    own = [
        entry
        for entry in read_history(registry.project)
        if entry.action == "damaged" or (entry.model, entry.store) == (registry.name, registry.store)
    ]
    for entry in own:
        tagged.pop(history_tag(entry)[0], None)
    others = [entry for entry in tagged.values() if entry.model == registry.name]  # copied versions have other models'
    return sorted([*own, *others], key=lambda entry: entry.when)


def history_tag(entry: HistoryEntry) -> tuple[str, str]:
    """Return name and value of the tag by which other homes see an entry; the name seals the value."""
    text = canonical_json({name: value for name, value in asdict(entry).items() if name not in LOCAL_FIELDS})
    moment = "".join(character for character in entry.when if character.isalnum())
    return f"{HISTORY_TAG}{moment}-{sha256_bytes(text.encode())[:TAG_DIGITS]}", text


def _parse_tag(registry: RegisteredModel, version: Version, name: str, value: str) -> HistoryEntry:
    try:
        entry = _parse({**json.loads(value), "number": 0}, name)
        datetime.fromisoformat(entry.when)
        if history_tag(entry)[0] == name:
            return replace(entry, store=registry.store)
    except (ValueError, TypeError, RecursionError, DamagedError):
        pass
    return _damaged(0, version.model, f"{version.label}: its tag {name} is not what was written")


def _parse(body: dict[str, Any], where: str) -> HistoryEntry:
    try:
        refs = {side: VersionRef(**body[side]) if body[side] else None for side in ("old", "new")}
        return HistoryEntry(**body | refs)
    except (KeyError, TypeError) as error:
        raise DamagedError(f"{where}: was written by another version of lenet; use that one") from error


def _damaged(number: int, model: str, reason: str) -> HistoryEntry:
    return HistoryEntry(number, "damaged", model, "", "", "", reason=reason)


def next_number(entries: Iterable[HistoryEntry]) -> int:
    """Return the number of the entry after these."""
    return max((entry.number for entry in entries), default=0) + 1


def last_champion(entries: Iterable[HistoryEntry]) -> VersionRef | None:
    """Return the champion after the newest change among a model's entries."""
    found = [entry.new for entry in entries if entry.action in CHAMPION_ACTIONS]
    return found[-1] if found else None


def read_intent(project: Project) -> HistoryEntry | None:
    """Return the change that was begun and not completed, or None.

    Raises:
        DamagedError: the file is not what was written.
    """
    path = project.home / FOLDER / INTENT
    try:
        return _parse(read_json(path), str(path))
    except FileNotFoundError:
        return None


def write_intent(project: Project, entry: HistoryEntry) -> None:
    """Write down a change that is about to be made; the caller holds the registry's lock."""
    write_json(project.home / FOLDER / INTENT, asdict(entry))


def close_intent(project: Project, entry: HistoryEntry) -> None:
    """Make the intent the newest entry of the history, by a rename."""
    folder = project.home / FOLDER
    (folder / INTENT).replace(folder / f"{entry.number:04d}-{entry.action}.json")
    sync_folder(folder)


def half_written_intents(project: Project) -> list[Path]:
    """Return temporary files of processes that write an intent now, or were killed while they did."""
    return list((project.home / FOLDER).glob(f".*{TEMPORARY_SUFFIX}"))
