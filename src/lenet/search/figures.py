"""The figures of a search that one can zoom into and point at: Optuna's, in our look."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lenet.search.dress import Chart
from lenet.search.field_figures import parallel, share, slices
from lenet.search.trial_figures import epochs, every_trial, pareto
from lenet.search.trial_records import TrialRecord

if TYPE_CHECKING:
    from optuna import Study


def draw_figures(study: Study, found: Sequence[TrialRecord], objectives: Sequence[str]) -> list[Chart]:
    """Return a search's figures, each with a heading and a sentence; where there is nothing to draw, that alone.

    Args:
        study: the study, as it was when `found` was read.
        found: its trials, by number.
        objectives: val/error, or val/error and another; the Pareto front is drawn where there are two.
    """
    with _quiet():
        charts = [every_trial(study, found)]
        if len(objectives) > 1:
            charts.append(pareto(study, found, objectives))
        return [*charts, parallel(study, objectives), share(study), slices(study, found), epochs(study, found)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the block Optuna tells nobody what is experimental and which trials it leaves out."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
