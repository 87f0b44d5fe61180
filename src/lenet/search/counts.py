"""How many trials of a study are in which state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Counts:
    """How many trials are in which state; `failed` are trainings that ended without a number."""

    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int

    @property
    def done(self) -> int:
        """Trials that have ended."""
        return self.complete + self.pruned + self.failed

    @property
    def taken(self) -> int:
        """Trials that have ended or will."""
        return self.done + self.running + self.waiting


def count(trials: Sequence[FrozenTrial]) -> Counts:
    """Count trials by their state."""
    from optuna.trial import TrialState

    states = [trial.state for trial in trials]
    return Counts(
        complete=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        running=states.count(TrialState.RUNNING),
        waiting=states.count(TrialState.WAITING),
    )
