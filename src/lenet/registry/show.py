"""`lenet registry`: the versions of the registered model, and what became of its champion, as tables or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lenet.config.params import Params
from lenet.core.project import Project
from lenet.core.table import format_table
from lenet.registry.history import HistoryEntry, VersionRef
from lenet.registry.history_tags import ELSEWHERE, is_change, shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.transaction import settle_left
from lenet.registry.versions import Version
from lenet.runs.run_dir import SHORT

VERSIONS = ("version", "aliases", "variant", "seed", "test error %", "run", "commit", "data", "registered")
HISTORY = ("", "when", "who", "what", "from", "to", "why")
MINUTES = "%Y-%m-%d %H:%M"


def show_registry(project: Project, params: Params, as_json: bool, tell: Callable[[str], None]) -> str:
    """Return the registered model's versions and history; a change that was left half made is completed first.

    Raises:
        LenetError: the store cannot be reached.
    """
    settle_left(project, params.register.model, tell)
    with RegisteredModel(project, params.register.model) as shelf:
        entries = shared_history(shelf)
        if as_json:
            return json.dumps(_tree(shelf, entries), indent=2, ensure_ascii=False)
        if not shelf.versions:
            made = "`lenet register` registers what `dvc repro` chose"
            return f"{shelf.model}: nothing is registered in {shelf.store}; {made}"
        table = format_table(VERSIONS, [_row(one) for one in shelf.versions])
        lines = [f"{shelf.model} in {shelf.store}", "", table]
    if entries:
        lines += ["", "history (UTC)", "", format_table(HISTORY, [_told(entry) for entry in entries])]
    return "\n".join(lines)


def _tree(shelf: RegisteredModel, entries: Sequence[HistoryEntry]) -> dict[str, Any]:
    versions = [
        {
            "version": one.number,
            "aliases": list(one.aliases),
            "registered": one.created,
            "source": one.source,
            "run_id": one.run_id,
            "tags": {name: value for name, value in sorted(one.tags.items()) if not is_change(name)},
        }
        for one in shelf.versions
    ]
    return {
        "model": shelf.model,
        "store": shelf.store,
        "versions": versions,
        "history": [asdict(entry) for entry in entries],
    }


def _row(version: Version) -> tuple[str, ...]:
    tags = version.tags
    return (
        version.number,
        ", ".join(version.aliases),
        tags.get("lenet.variant", ""),
        tags.get("lenet.seed", ""),
        tags.get("lenet.test_error", ""),
        version.fingerprint[:SHORT],
        tags.get("lenet.git_commit", "")[:SHORT] + "+" * (tags.get("lenet.git_dirty") == "true"),
        tags.get("lenet.data_digest", "")[:SHORT],
        datetime.fromtimestamp(version.created).strftime(MINUTES),
    )


def _told(entry: HistoryEntry) -> tuple[str, ...]:
    number = "" if entry.number == ELSEWHERE else str(entry.number)
    if entry.action == "damaged":
        return (number, "", "", "damaged", "", "", entry.reason or "its file cannot be read")
    when = datetime.fromisoformat(entry.when).strftime(MINUTES)
    return (number, when, entry.who, entry.action, _party(entry.old), _party(entry.new), _why(entry))


def _party(party: VersionRef | None) -> str:
    return f"{party.version} ({party.fingerprint[:SHORT]})" if party else ""


def _why(entry: HistoryEntry) -> str:
    if entry.reason is not None:
        return " ".join(entry.reason.split())
    if entry.verdict is None:
        return ""
    failed = [check["name"] for check in entry.verdict["checks"] if not check["passed"]]
    return f"failed {', '.join(failed)}" if failed else "passed " + ", ".join(_names(entry.verdict))


def _names(verdict: dict[str, Any]) -> list[str]:
    return [check["name"] for check in verdict["checks"]]
