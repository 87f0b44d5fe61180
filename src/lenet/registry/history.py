"""What became of the registry's champion: who changed what, when and why, as sealed files that are only ever added.

promotions/
    intent.json           a change that is being made; gone when it is
    0001-promote.json     the changes and refusals, in their order

A change is written down as an intent before the registry is touched, and the intent becomes the history's entry by a
rename after. A process that dies in between leaves the intent, which says all that the next one needs.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from lenet.core.atomic_io import TEMPORARY_SUFFIX, read_json, sync_folder, write_json
from lenet.core.errors import ConfigError, DamagedError
from lenet.core.project import Project
from lenet.runs import run_environment as environment

FOLDER = "promotions"
INTENT = "intent.json"

MAX_REASON = 2_000
"""Characters of a stated reason."""

CI_ACCOUNTS = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN")

Action = Literal["promote", "refuse", "rollback", "repair", "restore", "undo", "damaged"]
"""promote, refuse: what the gate said. repair: the same weights in a whole folder. restore: after a lost database.
undo: a change that could not be completed. damaged: the entry cannot be read."""

CROWNING: tuple[Action, ...] = ("promote", "rollback", "repair", "restore")
"""Actions after which the entry's `new` is the champion."""

JUDGING: tuple[Action, ...] = ("promote", "refuse")
"""Actions for which test images were read."""


@dataclass(frozen=True)
class VersionRef:
    """A version that took part, with what leads back to its run, commit and data."""

    version: str
    variant: str
    seed: str
    fingerprint: str
    weights_sha256: str
    git_commit: str
    data_digest: str


@dataclass(frozen=True)
class HistoryEntry:
    """A change of the registry, or a refusal to change it.

    Attributes:
        number: counted from 1; 0 for one of another home (`shared_history`).
        action: what was done.
        model: the registered model's name.
        store: the registry, without a password; a database in the home is named relative to it.
        when: in UTC, as ISO 8601.
        who: user and host, or the account that started a job of CI.
        old: the champion before, or None.
        new: the version it is about, or None.
        reason: what the user stated, or None.
        test_digest: of the images that a verdict stands on, or None.
        reference: sha256 of the weights that never change, or None.
        verdict: `Verdict.tree()`, or None.
        before: where each alias pointed that the change moves; None: nowhere.
        after: where it points then; None: nowhere.
        tags: by version, the tags that are set; None takes one away.
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
        """What was compared: the weights of new and old."""
        return self.new.weights_sha256 if self.new else None, self.old.weights_sha256 if self.old else None


def now() -> str:
    """Return the time as ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def who() -> str:
    """Return user and host; in CI, where these are anybody's, the account that started the job: `octocat (CI)`."""
    for variable in CI_ACCOUNTS:
        if os.environ.get(variable):
            return f"{os.environ[variable]} (CI)"
    return f"{environment.user()}@{platform.node()}"


def check_reason(reason: str | None) -> None:
    """See that a reason is one that tables and tags can hold.

    Raises:
        ConfigError: it is too long.
    """
    if reason is not None and len(reason) > MAX_REASON:
        raise ConfigError(f"--reason: has {len(reason):,} characters; say it in {MAX_REASON:,} or fewer")


def read_history(project: Project) -> list[HistoryEntry]:
    """Return the entries in their order; one that cannot be read is there as `damaged`."""
    entries = [_read(path) for path in (project.home / FOLDER).glob("[0-9]*-*.json")]
    return sorted(entries, key=lambda entry: entry.number)


def _read(path: Path) -> HistoryEntry:
    number = int(path.name.partition("-")[0])
    try:
        return replace(_entry(path), number=number)
    except DamagedError:
        return HistoryEntry(number, "damaged", "", "", "", "")


def _entry(path: Path) -> HistoryEntry:
    return parse_entry(read_json(path), str(path))


def parse_entry(body: dict[str, Any], where: str) -> HistoryEntry:
    """Return the entry that JSON describes.

    Args:
        body: as `asdict` gave it.
        where: the place it was read from, for the message.

    Raises:
        DamagedError: it is not what this version of lenet writes.
    """
    try:
        parties = {side: VersionRef(**body[side]) if body[side] else None for side in ("old", "new")}
        return HistoryEntry(**body | parties)
    except (KeyError, TypeError) as error:
        raise DamagedError(f"{where}: was written by another version of lenet; use that one") from error


def next_number(entries: Sequence[HistoryEntry]) -> int:
    """Return the number of the entry that comes after these."""
    return max((entry.number for entry in entries), default=0) + 1


def read_intent(project: Project) -> HistoryEntry | None:
    """Return the change that is half made, or None.

    Raises:
        DamagedError: the file is not what was written.
    """
    try:
        return _entry(project.home / FOLDER / INTENT)
    except FileNotFoundError:
        return None


def leftovers(project: Project) -> list[Path]:
    """Return the temporary files of processes that were killed while they wrote an intent, or are writing one now."""
    return list((project.home / FOLDER).glob(f".*{TEMPORARY_SUFFIX}"))


def write_intent(project: Project, entry: HistoryEntry) -> None:
    """Write down what is about to be done; from here on it is done, by this process or by the next.

    The caller holds the registry's lock.
    """
    write_json(project.home / FOLDER / INTENT, asdict(entry))


def close_intent(project: Project, entry: HistoryEntry) -> None:
    """Make the intent the history's newest entry, at once."""
    folder = project.home / FOLDER
    (folder / INTENT).replace(folder / f"{entry.number:04d}-{entry.action}.json")
    sync_folder(folder)


def last_champion(entries: Sequence[HistoryEntry], model: str, store: str) -> VersionRef | None:
    """Return who was champion of a model after the newest change that the history knows."""
    crowned = [one for one in entries if one.action in CROWNING and (one.model, one.store) == (model, store)]
    return crowned[-1].new if crowned else None
