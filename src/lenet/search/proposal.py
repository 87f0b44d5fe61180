"""Propose and prune trials as functions of earlier trials alone: whoever runs them, in whatever order they end.

Trial n is proposed from the results of the trials 0 … n − `parallel_trials`. Those between are pending to it, even if
they have ended, so that as many workers as `parallel_trials` need not wait for each other. Random numbers are seeded by
the study's seed and n. So one worker, two or eight run the same trials, killed in between or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lenet.search.samplers import build_pruner, build_sampler
from lenet.search.spec import SearchSpec

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

DIGITS = 4
"""Significant digits of a proposed number: processors that differ in the last bits propose the same."""


def can_propose(spec: SearchSpec, trials: Sequence[FrozenTrial]) -> bool:
    """Say whether the trials that the next one depends on have ended.

    Args:
        spec: the search.
        trials: all trials of the study so far, by number.
    """
    return all(one.state.is_finished() for one in _known(spec, trials, len(trials)))


def propose(spec: SearchSpec, name: str, trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """Return the next trial with its parameters, waiting for a worker.

    Args:
        spec: the search.
        name: the study's name.
        trials: all trials of the study so far, by number.
    """
    from optuna.trial import TrialState, create_trial

    study = _view(spec, name, trials, len(trials), build_sampler(spec.search, len(trials)))
    if spec.search.sampler == "qmc":
        for _ in trials:
            _ = study.ask().relative_params  # takes a point of the sequence
    spec.space.suggest(study.ask())
    drawn = study.get_trials(deepcopy=False)[-1]
    params = {key: _rounded(value, drawn.distributions[key]) for key, value in drawn.params.items()}
    return create_trial(
        state=TrialState.WAITING, params=params, distributions=drawn.distributions, system_attrs=drawn.system_attrs
    )


def in_view(spec: SearchSpec, name: str, trials: Sequence[FrozenTrial], number: int) -> Trial:
    """Return a trial again in a study in memory, where the pruner compares it with what it depends on alone.

    Args:
        spec: the search.
        name: the study's name.
        trials: the study's trials by number, this one included.
        number: the trial's.
    """
    from optuna.samplers import RandomSampler

    study = _view(spec, name, trials, number, RandomSampler())
    study.add_trial(_pending(trials[number], is_waiting=True))
    return study.ask()


def _known(spec: SearchSpec, trials: Sequence[FrozenTrial], number: int) -> Sequence[FrozenTrial]:
    return trials[: max(0, number - spec.search.parallel_trials + 1)]


def _view(spec: SearchSpec, name: str, trials: Sequence[FrozenTrial], number: int, sampler: Any) -> Study:
    import optuna

    known = _known(spec, trials, number)
    study = optuna.create_study(
        study_name=name,
        directions=["minimize"] * len(spec.search.objectives),
        sampler=sampler,
        pruner=build_pruner(spec.search),
    )
    study.add_trials([*known, *map(_pending, trials[len(known) : number])])
    return study


def _pending(trial: FrozenTrial, is_waiting: bool = False) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    state = TrialState.WAITING if is_waiting else TrialState.RUNNING
    return create_trial(state=state, params=trial.params, distributions=trial.distributions)


def _rounded(value: Any, distribution: BaseDistribution) -> Any:
    from optuna.distributions import FloatDistribution

    if not isinstance(distribution, FloatDistribution) or distribution.step is not None:
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), distribution.low), distribution.high)
