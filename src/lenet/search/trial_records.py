"""Trials as tables, plots and results use them: records, counts, ranking, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lenet.search.search_config import VALIDATION_ERROR
from lenet.search.search_space import Assignment

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FINGERPRINT = "lenet.fingerprint"
"""User attribute of a trial: its run."""

RESULT = "lenet.result"
"""User attribute of a trial: status, epochs, trained_epochs, trained_seconds, seconds, ended."""

ENDED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: the trial's number in its study, from 0.
        state: COMPLETE, PRUNED, FAIL, RUNNING or WAITING.
        values: by objective; empty unless COMPLETE.
        fingerprint: its run; empty where it has none.
        assignment: its parameters by field.
        is_feasible: it exceeds no limit.
        result: the user attribute RESULT.
        reports: validation error in percent by epoch.
    """

    number: int
    state: str
    values: dict[str, float]
    fingerprint: str
    assignment: Assignment
    is_feasible: bool
    result: dict[str, Any]
    reports: dict[int, float]

    @property
    def error(self) -> float:
        """The validation error in percent."""
        return self.values[VALIDATION_ERROR]


def trial_records(trials: Iterable[FrozenTrial], objectives: Sequence[str]) -> list[TrialRecord]:
    """Return Optuna's trials as records."""
    return [
        TrialRecord(
            number=trial.number,
            state=trial.state.name,
            values=dict(zip(objectives, trial.values, strict=True)) if trial.state.name == "COMPLETE" else {},
            fingerprint=str(trial.user_attrs.get(FINGERPRINT, "")),
            assignment=dict(trial.params),
            is_feasible=all(value <= 0 for value in trial.constraints.values()),
            result=dict(trial.user_attrs.get(RESULT, {})),
            reports=dict(trial.intermediate_values),
        )
        for trial in trials
    ]


@dataclass(frozen=True)
class Counts:
    """Number of trials by state."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def ended(self) -> int:
        """Trials that are complete, pruned or failed."""
        return self.complete + self.pruned + self.failed

    @property
    def all(self) -> int:
        """Trials in any state."""
        return self.ended + self.running + self.waiting


def count(trials: Iterable[FrozenTrial] | Iterable[TrialRecord]) -> Counts:
    """Count trials by state."""
    states = [one.state if isinstance(one, TrialRecord) else one.state.name for one in trials]
    return Counts(*(states.count(state) for state in (*ENDED, "RUNNING", "WAITING")))


def ranked(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials that exceed no limit, each run once, lowest validation error first."""
    usable = [one for one in records if one.state == "COMPLETE" and one.is_feasible]
    first: dict[str, TrialRecord] = {}
    for one in sorted(usable, key=lambda one: (one.error, one.number)):
        first.setdefault(one.fingerprint, one)
    return list(first.values())


def pareto_front(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that no other dominates, by validation error."""
    usable = ranked(records)
    return [one for one in usable if not any(_dominates(other, one) for other in usable)]


def _dominates(one: TrialRecord, other: TrialRecord) -> bool:
    pairs = [(one.values[name], other.values[name]) for name in one.values]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def best_so_far(records: Sequence[TrialRecord]) -> list[list[float]]:
    """Return the lowest validation error after each trial as [trial, error in percent, when], up to the first open one.

    The value after an open trial may still change.
    """
    history: list[list[float]] = []
    best = None
    for one in records:
        if one.state not in ENDED:
            break
        if one.state == "COMPLETE" and one.is_feasible:
            best = one.error if best is None else min(best, one.error)
        if best is not None:
            history.append([one.number, best, float(one.result.get("ended", 0.0))])
    return history


def trials_table(records: Sequence[TrialRecord]) -> str:
    """Return every trial as CSV: number, state, objectives, epochs, why it is not complete, run, a column per field.

    Nothing in it differs between two machines that ran the same search.
    """
    names = list(dict.fromkeys(name for one in records for name in one.assignment))
    objectives = list(dict.fromkeys(name for one in records for name in one.values)) or [VALIDATION_ERROR]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *objectives, "epochs", "status", "run", *names])
    for one in records:
        measured = [one.values.get(name, "") for name in objectives]
        epochs = one.result.get("epochs", len(one.reports))
        fields = [_cell(one.assignment[name]) if name in one.assignment else "" for name in names]
        status = "" if one.state == "COMPLETE" else one.result.get("status", "")
        writer.writerow([one.number, one.state, *measured, epochs, status, one.fingerprint, *fields])
    return text.getvalue()


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
