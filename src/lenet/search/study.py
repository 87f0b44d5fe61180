"""A search's study, that many processes work at: when its budget is spent, and how long it was worked at."""

from __future__ import annotations

import time

from lenet.search.counts import Counts
from lenet.search.pruners import build_pruner
from lenet.search.samplers import build_sampler
from lenet.search.spec import SearchSpec
from lenet.search.storage import StudyStorage
from lenet.search.study_queue import StudyQueue
from lenet.search.trial_attributes import SESSION

SECONDS_A_MINUTE = 60.0


class SearchStudy(StudyQueue):
    """A search's study, as one process sees it.

    Args:
        question: the search.
        storage: where the study is.
        name: the study's name.
        worker: the number that the process proposes with; None only looks.

    Raises:
        LenetError: the database does not answer.
    """

    def __init__(self, question: SearchSpec, storage: StudyStorage, name: str, worker: int | None = None) -> None:
        self.question = question
        search = question.search
        sampler, pruner = build_sampler(search, worker or 0), build_pruner(search)
        super().__init__(storage, name, sampler, pruner, len(search.objectives), search.trials)

    def spent_seconds(self) -> float:
        """Return how long the search was at work, over all sessions; hours in which several overlapped count once."""
        spans = sorted(span for key, span in self.study.user_attrs.items() if key.startswith(SESSION))
        spent, end = 0.0, float("-inf")
        for began, last in spans:
            spent += max(0.0, last - max(began, end))
            end = max(end, last)
        return spent

    def mark_time(self, session: str, began: float) -> None:
        """Note that a session, whose name no other has, has worked from `began` until now."""
        self.study.set_user_attr(f"{SESSION}{session}", [began, time.time()])

    def _has_budget(self, counts: Counts) -> bool:
        minutes = self.question.search.minutes
        return super()._has_budget(counts) and (minutes is None or self.spent_seconds() < minutes * SECONDS_A_MINUTE)
