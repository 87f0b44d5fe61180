"""Studies in memory whose trials are recorded as if they had been trained."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from lenet.search.search_space import Assignment, Parameter, Space
from lenet.search.trial_records import FINGERPRINT, RESULT, TrialRecord, trial_records

ONE, TWO = ("val/error",), ("val/error", "parameters")
ODD = "a $_{< b x^$ & _more</script>\n日本 " + "long" * 8

RATE = Parameter("optimizer.learning_rate", low=1e-4, high=1e-1, log=True)
ACTIVATION = Parameter("model.activation", choices=("relu", "tanh", "gelu"))
SPACE = Space(
    (
        Parameter("optimizer.name", choices=("adam", "sgd")),
        RATE,
        Parameter("optimizer.momentum", low=0.5, high=0.99, when=(("optimizer.name", ("sgd",)),)),
        Parameter("optimizer.label_smoothing", low=0.0, high=0.15),
        ACTIVATION,
        Parameter("model.is_wide", choices=(True, False, None)),
        Parameter("augmentation.shift", low=0, high=2, is_whole=True),
    )
)
ODD_SPACE = Space(
    (
        Parameter(ODD, choices=(ODD, "$x^", "'quoted'", "<b>")),
        Parameter("_", low=1.0, high=2.0),
        Parameter("b" * 70, high=1.0),
    )
)
WIDE_SPACE = Space(tuple(Parameter(f"group.field_{number}", high=1.0) for number in range(24)))


@dataclass(frozen=True)
class Outcome:
    """A trial's state, its last error, and by how much it exceeds its limit."""

    state: str = "COMPLETE"
    error: float = 1.0
    over: float = -1.0
    epochs: int = 3


def always(**outcome: object) -> Callable[[int, Assignment], Outcome]:
    return lambda number, values: Outcome(**outcome)  # type: ignore[arg-type]


def realistic(number: int, values: Assignment) -> Outcome:
    """A valley in the learning rate; one trial of three is complete, some fail, some exceed the limit."""
    error = 0.8 + (math.log10(float(values["optimizer.learning_rate"])) + 2.5) ** 2 + 0.01 * (number % 7)
    if number % 11 == 7:
        return Outcome("FAIL", math.nan)
    if number % 13 == 5:
        return Outcome("PRUNED", over=5000.0, epochs=0)
    return Outcome("COMPLETE" if number % 3 == 0 else "PRUNED", error, epochs=5 if number % 3 == 0 else 1)


def complete(number: int, values: Assignment) -> Outcome:
    return Outcome(error=realistic(3, values).error, over=1.0 if number % 5 == 0 else -1.0)


@dataclass
class Search:
    """A study with its records."""

    trials: int = 30
    outcome: Callable[[int, Assignment], Outcome] = realistic
    space: Space = SPACE
    objectives: Sequence[str] = ONE
    name: str = "recipe-0123456789ab"
    study: optuna.Study = field(init=False)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sampler = optuna.samplers.RandomSampler(seed=1)
            directions = ["minimize"] * len(self.objectives)
            self.study = optuna.create_study(study_name=self.name, directions=directions, sampler=sampler)
            for number in range(self.trials):
                self._add(number)

    def _add(self, number: int) -> None:
        trial = self.study.ask()
        outcome = self.outcome(number, self.space.suggest(trial))
        trial.set_user_attr(FINGERPRINT, f"{number:02x}" * 32)
        trial.set_user_attr(RESULT, {"status": "trained", "epochs": outcome.epochs, "ended": 10.0 + number})
        trial.set_constraint("parameters", outcome.over)
        if len(self.objectives) == 1:
            for epoch in range(1, outcome.epochs + 1):
                trial.report(outcome.error * (1 + outcome.epochs - epoch), epoch)
        if outcome.state != "RUNNING":
            values = [outcome.error, 60_000.0 - 1000 * (number % 9)][: len(self.objectives)]
            is_complete = outcome.state == "COMPLETE"
            self.study.tell(trial, values if is_complete else None, state=TrialState[outcome.state])

    @property
    def records(self) -> list[TrialRecord]:
        return trial_records(self.study.trials, self.objectives)


SEARCHES: dict[str, Callable[[], Search]] = {
    "of every kind": Search,
    "two objectives": lambda: Search(outcome=complete, objectives=TWO),
    "two objectives, none complete": lambda: Search(3, always(state="FAIL"), objectives=TWO),
    "no trial": lambda: Search(0),
    "one running": lambda: Search(1, always(state="RUNNING", epochs=0)),
    "one complete": lambda: Search(1, always()),
    "only pruned": lambda: Search(5, always(state="PRUNED", epochs=1)),
    "only failed": lambda: Search(5, always(state="FAIL", error=math.nan)),
    "only over the limit": lambda: Search(12, always(over=3.0)),
    "all the same": lambda: Search(12, always()),
    "no error left": lambda: Search(12, always(error=0.0)),
    "infinite": lambda: Search(12, lambda number, values: Outcome(error=math.inf if number % 2 else 2.0 + number)),
    "all infinite": lambda: Search(3, always(error=math.inf)),
    "one field": lambda: Search(12, complete, Space((RATE,))),
    "one choice": lambda: Search(
        12, lambda number, _: Outcome(error=1.0 + number), Space((Parameter("a.b", choices=("c",)),))
    ),
    "odd names": lambda: Search(14, lambda number, _: Outcome(error=1.0 + number), ODD_SPACE, name=ODD),
    "many fields": lambda: Search(14, lambda number, _: Outcome(error=1.0 + number), WIDE_SPACE),
}
"""Searches with every kind of trials."""
