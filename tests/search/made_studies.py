"""Studies made in memory, in seconds none: what trials came to is told, nothing is trained."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import TrialState

from lenet.search.parameter import Assignment, Parameter, Space
from lenet.search.trial_attributes import FINGERPRINT, OUTCOME
from lenet.search.trial_records import TrialRecord, _standing

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
class Made:
    """What a trial came to: its state, its last error, and by how much it is over its limit."""

    state: str = "COMPLETE"
    error: float = 1.0
    over: float = -1.0
    epochs: int = 3


def always(**what: object) -> Callable[[int, Assignment], Made]:
    return lambda number, values: Made(**what)  # type: ignore[arg-type]


def realistic(number: int, values: Assignment) -> Made:
    """A valley in the learning rate; a trial of three goes to the end, some fail, some are over the limit."""
    error = 0.8 + (math.log10(float(values["optimizer.learning_rate"])) + 2.5) ** 2 + 0.01 * (number % 7)
    if number % 11 == 7:
        return Made("FAIL", math.nan)
    if number % 13 == 5:
        return Made("PRUNED", over=5000.0, epochs=0)
    return Made("COMPLETE" if number % 3 == 0 else "PRUNED", error, epochs=5 if number % 3 == 0 else 1)


def complete(number: int, values: Assignment) -> Made:
    return Made(error=realistic(3, values).error, over=1.0 if number % 5 == 0 else -1.0)


@dataclass
class Search:
    """A study with what the pictures are drawn from."""

    trials: int = 30
    comes_to: Callable[[int, Assignment], Made] = realistic
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
                self._tell(number)

    def _tell(self, number: int) -> None:
        trial = self.study.ask()
        values = self.space.suggest(trial)
        made = self.comes_to(number, values)
        trial.set_user_attr(FINGERPRINT, f"{number:02x}" * 32)
        trial.set_user_attr(OUTCOME, {"answer": "trained", "epochs": made.epochs, "ended": 10.0 + number})
        trial.set_constraint("parameters", made.over)
        if len(self.objectives) == 1:
            for epoch in range(1, made.epochs + 1):
                trial.report(made.error * (1 + made.epochs - epoch), epoch)
        if made.state != "RUNNING":
            told = [made.error, 60_000.0 - 1000 * (number % 9)][: len(self.objectives)]
            self.study.tell(trial, told if made.state == "COMPLETE" else None, state=TrialState[made.state])

    @property
    def found(self) -> list[TrialRecord]:
        return [_standing(trial, self.objectives) for trial in self.study.trials]


SEARCHES: dict[str, Callable[[], Search]] = {
    "of every kind": Search,
    "two objectives": lambda: Search(comes_to=complete, objectives=TWO),
    "two objectives, none complete": lambda: Search(3, always(state="FAIL"), objectives=TWO),
    "no trial": lambda: Search(0),
    "one running": lambda: Search(1, always(state="RUNNING", epochs=0)),
    "one complete": lambda: Search(1, always()),
    "only pruned": lambda: Search(5, always(state="PRUNED", epochs=1)),
    "only failed": lambda: Search(5, always(state="FAIL", error=math.nan)),
    "only over the limit": lambda: Search(12, always(over=3.0)),
    "only too large to be trained": lambda: Search(5, always(state="PRUNED", over=3.0, epochs=0)),
    "all the same": lambda: Search(12, always()),
    "no error left": lambda: Search(12, always(error=0.0)),
    "infinite": lambda: Search(12, lambda number, values: Made(error=math.inf if number % 2 else 2.0 + number)),
    "all infinite": lambda: Search(3, always(error=math.inf)),
    "one field": lambda: Search(12, complete, Space((RATE,))),
    "one field, only pruned": lambda: Search(3, always(state="PRUNED"), Space((RATE,))),
    "one choice": lambda: Search(
        12, lambda number, _: Made(error=1.0 + number), Space((Parameter("a.b", choices=("c",)),))
    ),
    "one choice, one trial": lambda: Search(1, always(), Space((Parameter("a.b", choices=(None,)),))),
    "odd names": lambda: Search(14, lambda number, _: Made(error=1.0 + number), ODD_SPACE, name=ODD),
    "many fields": lambda: Search(14, lambda number, _: Made(error=1.0 + number), WIDE_SPACE),
}
"""Searches that come to everything that a search can come to."""
