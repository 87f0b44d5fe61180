"""`lenet registry`: the versions of the registered model, and the history of its champion, as tables or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lenet.config.params import Params
from lenet.core.project import Project
from lenet.core.table import format_table
from lenet.registry.changes import recover_if_needed
from lenet.registry.history import HISTORY_TAG, HistoryEntry, VersionRef, shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import Version
from lenet.runs.run_dir import SHORT

VERSIONS = ("version", "aliases", "variant", "seed", "test error %", "run", "commit", "data", "registered")
HISTORY = ("", "when", "who", "action", "from", "to", "why")
MINUTES = "%Y-%m-%d %H:%M"


def show_registry(project: Project, params: Params, as_json: bool) -> str:
    """Return the registered model's versions and history; an interrupted change is completed first.

    Raises:
        LenetError: the store cannot be reached.
    """
    recover_if_needed(project, params.register.model)
    with RegisteredModel(project, params.register.model) as registry:
        entries = shared_history(registry)
        if as_json:
            return json.dumps(_to_dict(registry, entries), indent=2, ensure_ascii=False)
        if not registry.versions:
            return f"{registry.name}: has no versions in {registry.store}; `lenet register` registers the chosen run"
        lines = [f"{registry.name} in {registry.store}", ""]
        lines.append(format_table(VERSIONS, [_version_row(one) for one in registry.versions]))
    if entries:
        lines += ["", "history (UTC)", "", format_table(HISTORY, [_history_row(entry) for entry in entries])]
    return "\n".join(lines)


def _to_dict(registry: RegisteredModel, entries: Sequence[HistoryEntry]) -> dict[str, Any]:
    versions = [
        {
            "version": one.number,
            "aliases": list(one.aliases),
            "registered": one.created,
            "source": one.source,
            "run_id": one.run_id,
            "tags": {name: value for name, value in sorted(one.tags.items()) if not name.startswith(HISTORY_TAG)},
        }
        for one in registry.versions
    ]
    history = [asdict(entry) for entry in entries]
    return {"model": registry.name, "store": registry.store, "versions": versions, "history": history}


def _version_row(version: Version) -> tuple[str, ...]:
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


def _history_row(entry: HistoryEntry) -> tuple[str, ...]:
    when = datetime.fromisoformat(entry.when).strftime(MINUTES) if entry.when else ""
    number = str(entry.number) if entry.number else ""  # an entry of another home has none
    return (number, when, entry.who, entry.action, _ref(entry.old), _ref(entry.new), _why(entry))


def _ref(ref: VersionRef | None) -> str:
    return f"{ref.version} ({ref.fingerprint[:SHORT]})" if ref else ""


def _why(entry: HistoryEntry) -> str:
    if entry.reason is not None:
        return " ".join(entry.reason.split())
    if entry.verdict is None:
        return ""
    failed = [check["name"] for check in entry.verdict["checks"] if not check["passed"]]
    passed = [check["name"] for check in entry.verdict["checks"] if check["passed"]]
    return f"failed {', '.join(failed)}" if failed else f"passed {', '.join(passed)}"
