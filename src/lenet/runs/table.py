"""`lenet runs`: a table of the runs, or one of them with all its details."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lenet.config.validation import closest, flatten
from lenet.core.errors import ConfigError, DamagedError
from lenet.core.project import Project
from lenet.core.table import print_table
from lenet.core.yaml_loader import parse_yaml
from lenet.runs.run_dir import DAMAGED, SHORT, RunDir, all_runs


@dataclass(frozen=True)
class RunRow:
    """One run as the list shows it; `knobs` are its config's values by dotted name."""

    folder: RunDir
    name: str
    state: str
    started: float | None
    epochs: int
    error: float | None
    knobs: dict[str, Any]


def read_row(folder: RunDir) -> RunRow:
    """Read what the list shows of a run; what is damaged is shown as damaged."""
    try:
        identity, status, history = folder.identity(), folder.status(), folder.history()
    except DamagedError:
        return RunRow(folder, "", DAMAGED, None, 0, None, {})
    attempts = status["attempts"]
    started = attempts[0]["started"] if attempts else None
    error = folder.headline().get("val/error")
    knobs = dict(flatten(identity["config"]))
    return RunRow(folder, identity["name"], folder.state() or "NEW", started, len(history), error, knobs)


def select(lines: Sequence[RunRow], filters: Sequence[str]) -> list[RunRow]:
    """Keep the runs that fit every filter, `knob=value` or `state=FINISHED`.

    Raises:
        ConfigError: a filter is no pair, or no run has such a knob.
    """
    kept = list(lines)
    known = sorted({"state", *(name for line in lines for name in line.knobs)})
    for text in filters:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text}: a filter is knob=value, such as model.activation=relu or state=FINISHED")
        if lines and name not in known:
            raise ConfigError(f"{name}: no run has such a knob{closest(name, known)}")
        parsed = _parsed(value)
        kept = [line for line in kept if _fits(line, name, value, parsed)]
    return kept


def _parsed(text: str) -> Any:
    try:
        return parse_yaml(text)
    except ConfigError:  # a text, then
        return text


def _fits(line: RunRow, name: str, typed: str, parsed: Any) -> bool:
    """Compare a knob with a filter's value as it was typed and as YAML reads it, as on train.py's command line."""
    if name == "state":
        return line.state.lower() == typed.lower()
    if name not in line.knobs:
        return False
    known = line.knobs[name]
    return str(known) == typed or (parsed == known and isinstance(parsed, bool) == isinstance(known, bool))


def print_runs(project: Project, filters: Sequence[str]) -> None:
    """Print a table of the runs that fit the filters, oldest first."""
    lines = select([read_row(folder) for folder in all_runs(project)], filters)
    if not lines:
        print("no runs" if not filters else "no run fits; `lenet runs` lists them all")
        return
    rows = []
    for line in lines:
        when = datetime.fromtimestamp(line.started).strftime("%Y-%m-%d %H:%M") if line.started else ""
        error = "" if line.error is None else f"{line.error:.2f}"
        rows.append((line.folder.short, line.name, line.state, str(line.epochs), error, when))
    print_table(("run", "name", "state", "epochs", "val/error %", "started"), rows, right={"epochs", "val/error %"})


def print_run(folder: RunDir) -> None:
    """Print one run whole, as JSON: identity, status, last measures, and where it lies."""
    status = folder.status()
    body = {
        "run": folder.fingerprint[:SHORT],
        "folder": str(folder.path),
        "state": folder.state(),
        "last_epoch": folder.history()[-1:],
        **folder.identity(),
        "status": {name: status[name] for name in ("message", "attempts", "files")},
    }
    json.dump(body, sys.stdout, indent=2, ensure_ascii=False)
    print()
