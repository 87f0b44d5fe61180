"""A search space: the fields of a run's config that are looked through, and the values each may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial

Scalar = bool | int | float | str | None
Assignment = dict[str, Scalar]
"""A trial's values by the dotted name of the field."""

WHERE = "search.space"


@dataclass(frozen=True)
class Parameter:
    """One field that a search may set.

    Attributes:
        name: dotted name of the field, such as optimizer.learning_rate; `<group>.name` chooses among a group's files.
        choices: the values there are; empty where a range is given.
        low: lowest value of a range.
        high: highest value of a range, itself included.
        log: the range is searched by ratios.
        step: distance between neighbouring values; None is any.
        is_whole: the values are whole numbers.
        when: other parameters and the values of theirs that bring this one in.
    """

    name: str
    choices: tuple[Scalar, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    is_whole: bool = False
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()

    def is_active(self, chosen: Mapping[str, Scalar]) -> bool:
        """Say whether the values chosen so far bring this parameter in."""
        return all(name in chosen and chosen[name] in allowed for name, allowed in self.when)

    def suggest(self, trial: Trial) -> Scalar:
        """Ask the trial for a value."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """The values that say whether all of them are allowed: every choice, or both ends of a range."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.is_whole else (self.low, self.high)

    def tree(self) -> dict[str, Any]:
        """Return what tells this parameter from another, for the study's identity."""
        body: dict[str, Any] = {"choices": list(self.choices)} if self.choices else {"low": self.low, "high": self.high}
        conditions = {name: list(values) for name, values in self.when}
        return body | {"log": self.log, "step": self.step, "whole": self.is_whole, "when": conditions}


@dataclass(frozen=True)
class Space:
    """The parameters, each after those that its `when` names."""

    parameters: tuple[Parameter, ...]

    def suggest(self, trial: Trial) -> Assignment:
        """Ask the trial for a value of every parameter that is active."""
        chosen: Assignment = {}
        for parameter in self.parameters:
            if parameter.is_active(chosen):
                chosen[parameter.name] = parameter.suggest(trial)
        return chosen

    def tree(self) -> dict[str, Any]:
        """Return the space as a plain tree, for the study's identity."""
        return {parameter.name: parameter.tree() for parameter in self.parameters}
