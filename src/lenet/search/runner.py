"""A session: one command's part in a search, from its workers to what it leaves behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from lenet.core.atomic_io import remove_half_written, write_json, write_text
from lenet.core.errors import ConfigError, DamagedError, LenetError
from lenet.core.file_lock import locked
from lenet.core.processes import default_workers
from lenet.runs.run_dir import RunDir
from lenet.search.counts import Counts
from lenet.search.progress import Progress
from lenet.search.results import BEST, ENDED, PAGE, PLOTS, SUMMARY, copy_results, write_findings
from lenet.search.spec import SearchSpec
from lenet.search.storage import HOST, StudyStorage, searches
from lenet.search.study import SearchStudy
from lenet.search.trial_records import TrialRecord, ranked, trial_records, trials_table
from lenet.search.worker_pool import WorkerPool
from lenet.tracking.background_sync import BackgroundSync
from lenet.tracking.destination import TRACKING, requested_destination
from lenet.tracking.search_sync import DESCRIPTION, LOCK, RECORD, read_search
from lenet.tracking.store import experiment_name, tracking_uri
from lenet.tracking.sync import synchronize_search

if TYPE_CHECKING:
    from optuna import Study

LOOK_SECONDS = 1.0
"""Between two looks at the study: its workers compute on every core, and this process takes theirs."""

DRAWN = ".drawn.csv"
"""The trials that the pictures show: nothing new is drawn of the same."""

MAX_FAILED = 3
"""Trials that failed whose reasons are told at the end; `trials.csv` has all of them."""

MARK_SECONDS = 5.0
"""Between two notes of how long the search has been at work; what a power cut can lose of it."""


class SearchRunner:
    """One command's part in a search.

    Args:
        question: the search.
        storage: where its study is.
        name: the study's name.
        words: what was typed.
        tell: takes a line for the user.
    """

    def __init__(
        self,
        question: SearchSpec,
        storage: StudyStorage,
        name: str,
        words: tuple[str, ...],
        tell: Callable[[str], None],
    ) -> None:
        self._project = question.project
        self._question = question
        self._storage = storage
        self._name = name
        self._words = words
        self._tell = tell
        self._shared = SearchStudy(question, storage, name)
        self._projected: set[int] = set()
        self._place = self._settle_place()

    @property
    def folder(self) -> Path:
        """The search's folder."""
        return searches(self._project) / self._name

    def run(self, is_joining: bool, into: Path | None) -> None:
        """Work until the budget is spent, then write the findings; raises as `search` does."""
        with ExitStack() as stack:
            leads = not is_joining and self._storage.try_lock(self._name, HOST, stack)
            if not leads and not is_joining:
                holder = self._storage.holder(self._name, HOST)
                by = f"process {holder}" if holder else "another command"
                raise LenetError(f"{self._name}: {by} is at this search; add --join to work along with it")
            self._remember()
            self._tell(f"study {self._name} in {self._storage.url}")
            recovered = self._shared.recover()
            if recovered:
                self._tell(f"{recovered} trials were left behind by processes that are gone; they go on")
            try:
                self._work_shown(leads)
            except BaseException:
                if leads or self._storage.try_lock(self._name, HOST, stack):
                    self._conclude()
                raise
            if not leads:
                # Who led may be gone, or be on the way out: the last one at work leaves the findings.
                stack.enter_context(self._storage.lock(self._name, HOST))
            if leads or not self._is_concluded():
                self._conclude()
            if into is not None:
                copy_results(self.folder, into)
            self._tell_end()

    def _settle_place(self) -> tuple[str, str]:
        """Return the store and the experiment that show the search: as asked, unless the store shows it in another."""
        tracking = self._question.base.tracking
        uri, experiment = tracking_uri(self._project, tracking.uri), experiment_name(tracking.experiment)
        try:
            known = requested_destination(self._project, read_search(self.folder, DESCRIPTION))
        except (FileNotFoundError, DamagedError, ConfigError):
            return uri, experiment
        if known[0] != uri or known[1] == experiment or not (self.folder / RECORD).is_file():
            return uri, experiment
        self._tell(f"{self._name}: MLflow shows it in experiment {known[1]} already: {experiment} does not get it")
        return known

    def _is_shown_here(self, folder: RunDir) -> bool:
        """Say whether a trial's run is to be shown where the search is; one that was there before may be elsewhere."""
        try:
            return requested_destination(self._project, folder.identity()) == self._place
        except (FileNotFoundError, DamagedError, ConfigError):
            return False

    def _remember(self) -> None:
        remove_half_written(self.folder)
        search = self._question.search
        body = {
            "study": self._name,
            "name": search.name,
            "words": list(self._words),
            TRACKING: {"uri": self._question.base.tracking.uri, "experiment": self._place[1]},
            "objectives": list(search.objectives),
            "space": self._question.space.tree(),
            "epochs": search.epochs,
            "sampler": search.sampler,
            "pruner": search.pruner,
        }
        with locked(self.folder / f"{DESCRIPTION}.lock"):
            write_json(self.folder / DESCRIPTION, body)

    def _work_shown(self, leads: bool) -> None:
        """Work, with MLflow beside it; while its leader is at work a search is shown as running."""
        with ExitStack() as stack:
            if leads:
                stack.enter_context(locked(self.folder / LOCK))
            follower = BackgroundSync(self._project, *self._place, self._tell, gives_way=True)
            stack.callback(follower.close)
            try:
                self._work(follower)
            finally:
                self._look(follower)

    def _work(self, follower: BackgroundSync) -> None:
        if self._shared.is_over():
            return
        crew = WorkerPool(self._project, self._words, self._question.search.workers or default_workers())
        progress = Progress(self._name, self._question.search, self._tell)
        began = marked = time.time()
        done = self._shared.counts().done
        session = uuid4().hex  # a process id comes again, in containers at once
        with progress.showing():
            crew.start()
            try:
                counts = self._shared.counts()
                while crew.watch(has_progressed=counts.done > done):
                    done = counts.done
                    found, counts = self._look(follower)
                    if time.time() - marked > MARK_SECONDS:
                        marked = time.time()
                        self._shared.mark_time(session, began)
                    progress.update(found, counts, self._shared.spent_seconds())
                    time.sleep(LOOK_SECONDS)
            finally:
                crew.end()
                self._shared.mark_time(session, began)
                self._shared.recover()
        if not self._shared.is_over():
            raise LenetError("no worker could go on; the lines above say why, the same command goes on")

    def _look(self, follower: BackgroundSync) -> tuple[list[TrialRecord], Counts]:
        """Read the study, and have MLflow shown the trials that ended since the last look."""
        trials = self._shared.trials()
        found = trial_records(self._shared, trials)
        for one in found:
            folder = RunDir(self._project.runs / one.fingerprint)
            if one.state in ENDED and one.number not in self._projected and one.fingerprint:
                self._projected.add(one.number)
                if self._is_shown_here(folder):
                    follower.changed(folder)
        return found, self._shared.counts(trials)

    def _is_concluded(self) -> bool:
        """Say whether the findings tell of every trial."""
        try:
            known = read_search(self.folder, SUMMARY)
        except (FileNotFoundError, DamagedError):
            return False
        return bool(known["is_over"] and known["trials"]["all"] == self._shared.counts().done)

    def _conclude(self) -> None:
        is_over, trials = self._shared.is_over(), self._shared.trials()
        found, counts = trial_records(self._shared, trials), self._shared.counts(trials)
        drawn = self.folder / DRAWN
        is_drawn = (self.folder / PAGE).is_file() and drawn.is_file()
        is_drawn = is_drawn and drawn.read_text(encoding="utf-8") == trials_table(found)
        write_findings(self._question, self._name, found, counts, is_over, self.folder)
        if not is_drawn:
            self._draw(self._shared.frozen(trials), found)
            write_text(drawn, trials_table(found))
        synchronize_search(self._project, self.folder, self._tell)

    def _draw(self, study: Study, found: list[TrialRecord]) -> None:
        from lenet.search.page import write_search_page
        from lenet.search.plots.overview import draw_search

        draw_search(study, found, self._question.space, self._question.search.objectives, self.folder / PLOTS)
        best = next(iter(ranked(found)), None)
        command = "" if best is None else self._command(best)
        write_search_page(study, found, read_search(self.folder, SUMMARY), self.folder / PAGE, command)

    def _command(self, one: TrialRecord) -> str:
        return f"python train.py {' '.join(self._question.overrides(one.assignment))}"

    def _tell_end(self) -> None:
        found, counts = trial_records(self._shared), self._shared.counts()
        self._tell(f"{counts.done} trials: {counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed")
        for one in [one for one in found if one.state == "FAIL"][:MAX_FAILED]:
            self._tell(f"trial {one.number}: {one.outcome.get('answer', 'failed')}")
        best = next(iter(ranked(found)), None)
        if best is None:
            raise LenetError(f"{self._name}: no trial has a value within the limits; `trials.csv` says why")
        self._tell(f"best: {best.error:.2f} % validation error, trial {best.number}")
        self._tell(f"train it: {self._command(best)}")
        self._tell(f"more: {self.folder / BEST}")
