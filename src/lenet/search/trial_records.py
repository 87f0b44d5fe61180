"""How a search stands: what its trials came to so far."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lenet.search.objective import MEASURE
from lenet.search.parameter import Assignment
from lenet.search.study import SearchStudy
from lenet.search.trial_attributes import FINGERPRINT, OUTCOME

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FRONT_SHOWN = 20


@dataclass(frozen=True)
class TrialRecord:
    """One trial, as tables and pictures show it.

    Attributes:
        number: the trial's number in its study, from 0.
        state: COMPLETE, PRUNED, FAIL, RUNNING or WAITING.
        values: by objective; empty where it has none.
        fingerprint: its run, as far as it has one.
        assignment: its values by field.
        is_feasible: no limit is exceeded.
        outcome: what the worker told: answer, epochs, trained_epochs, seconds.
        reports: validation error in percent by epoch.
    """

    number: int
    state: str
    values: dict[str, float]
    fingerprint: str
    assignment: Assignment
    is_feasible: bool
    outcome: dict[str, Any]
    reports: dict[int, float]

    @property
    def error(self) -> float:
        """The validation error in percent."""
        return self.values[MEASURE]


def trial_records(shared: SearchStudy, trials: Sequence[FrozenTrial] | None = None) -> list[TrialRecord]:
    """Return trials of a study, by number; default: all, as they are now."""
    objectives = shared.question.search.objectives
    return [_standing(trial, objectives) for trial in (shared.trials() if trials is None else trials)]


def _standing(trial: FrozenTrial, objectives: Sequence[str]) -> TrialRecord:
    is_complete = trial.state.name == "COMPLETE"
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        values=dict(zip(objectives, trial.values, strict=True)) if is_complete else {},
        fingerprint=str(trial.user_attrs.get(FINGERPRINT, "")),
        assignment=dict(trial.params),
        is_feasible=all(value <= 0 for value in trial.constraints.values()),
        outcome=dict(trial.user_attrs.get(OUTCOME, {})),
        reports=dict(trial.intermediate_values),
    )


def ranked(found: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials that exceed no limit, each configuration once, lowest validation error first."""
    usable = [one for one in found if one.state == "COMPLETE" and one.is_feasible]
    best_first = sorted(usable, key=lambda one: (one.error, one.number))
    return list({one.fingerprint: one for one in reversed(best_first)}.values())[::-1] if best_first else []


def pareto_front(found: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that none other beats in one objective without losing in another, by validation error."""
    usable = ranked(found)
    return [one for one in usable if not any(_beats(other, one) for other in usable)]


def _beats(one: TrialRecord, other: TrialRecord) -> bool:
    pairs = [(one.values[name], other.values[name]) for name in one.values]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def trials_table(found: Sequence[TrialRecord]) -> str:
    """Return every trial as CSV: number, state, objectives, epochs, run, then a column for each field."""
    names = list(dict.fromkeys(name for one in found for name in one.assignment))
    objectives = list(dict.fromkeys(name for one in found for name in one.values)) or [MEASURE]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *objectives, "epochs", "seconds", "answer", "run", *names])
    for one in found:
        writer.writerow(
            [
                one.number,
                one.state,
                *(one.values.get(name, "") for name in objectives),
                one.outcome.get("epochs", len(one.reports)),
                one.outcome.get("seconds", ""),
                one.outcome.get("answer", ""),
                one.fingerprint,
                *(_cell(one.assignment[name]) if name in one.assignment else "" for name in names),
            ]
        )
    return text.getvalue()


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
