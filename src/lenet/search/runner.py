"""Run a search: check, open the study, lead or join, watch the workers, sync MLflow, write the results."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from uuid import uuid4

from lenet.core.atomic_io import remove_half_written, write_json, write_text
from lenet.core.errors import ConfigError, DamagedError, LenetError
from lenet.core.file_lock import locked
from lenet.core.processes import default_workers, stop_on_signals
from lenet.data.arrays import training_digest
from lenet.data.datasets import ensure_prepared
from lenet.execution.runner import validate_resources
from lenet.runs.run_dir import TRACKING, RunDir
from lenet.search.dashboard import check_dashboard, dashboard
from lenet.search.progress import SearchProgress
from lenet.search.results import BEST, PAGE, PLOTS, SUMMARY, check_target, copy_results, write_results
from lenet.search.spec import SearchSpec
from lenet.search.storage import LEADER_LOCK, StudyStorage, open_storage, searches, storage_errors, study_url
from lenet.search.study import SearchStudy
from lenet.search.trial_records import ENDED, TrialRecord, count, ranked, trial_records, trials_table
from lenet.search.workers import WorkerPool, WorkerTask
from lenet.tracking.background_sync import BackgroundSync
from lenet.tracking.destination import requested_destination
from lenet.tracking.run_ref import RECORD
from lenet.tracking.search_sync import DESCRIPTION, LOCK, read_search
from lenet.tracking.store import experiment_name, tracking_uri
from lenet.tracking.sync import synchronize_search

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""Between two looks at the study: its workers compute on every core, and this process takes theirs."""

DRAWN = ".drawn.csv"
"""The trials that the pictures show: they are drawn again when these change."""

MAX_FAILED_SHOWN = 3
TIME_SECONDS = 5.0
"""Between two records of the time spent; a power cut can lose as much of it."""


def run_search(
    spec: SearchSpec,
    words: Sequence[str],
    is_joining: bool = False,
    has_dashboard: bool = False,
    into: Path | None = None,
) -> list[TrialRecord]:
    """Run a search from where it was left until the budget is spent, and return its trials.

    Args:
        spec: the search.
        words: what was typed, for the description.
        is_joining: help a search that another command leads, and finish it if that command ends.
        has_dashboard: serve optuna-dashboard on the study, while the search runs and after.
        into: the folder that the results are copied to.

    Raises:
        ConfigError: the search is not right; nothing was written.
        LenetError: the database does not answer, or another command leads this search.
        Stopped: a signal ended it; the same search resumes.
    """
    project = spec.project
    if has_dashboard:
        check_dashboard()
    target = None if into is None else check_target(into)
    validate_resources(project, spec.base)
    url = study_url(project, spec.search.storage)
    digest = training_digest(ensure_prepared(project, spec.base.data.name))
    runner = SearchRunner(spec, open_storage(project, url), digest, tuple(words))
    with stop_on_signals(), dashboard(url) if has_dashboard else nullcontext(), storage_errors(url):
        return runner.run(is_joining, target)


class SearchRunner:
    """One command's session of a search.

    Args:
        spec: the search.
        storage: the study's database.
        data_digest: digest of the prepared training data.
        words: what was typed, for the description.
    """

    def __init__(self, spec: SearchSpec, storage: StudyStorage, data_digest: str, words: tuple[str, ...]) -> None:
        self._project = spec.project
        self._spec = spec
        self._storage = storage
        self._words = words
        self._name = spec.study_name(data_digest)
        self._digest = data_digest
        self.folder = searches(self._project) / self._name
        self._study = SearchStudy(spec, storage, self._name)
        self._synced: set[int] = set()
        self._destination = self._choose_destination()

    def run(self, is_joining: bool, into: Path | None) -> list[TrialRecord]:
        """Run trials until the budget is spent, write the results, return the trials; raises like `run_search`."""
        with ExitStack() as stack:
            leads = not is_joining and self._storage.try_lock(self._name, LEADER_LOCK, stack)
            if not leads and not is_joining:
                holder = self._storage.holder(self._name, LEADER_LOCK)
                by = f"process {holder}" if holder else "another command"
                raise LenetError(
                    f"{self._name}: {by} runs this search; add --join (or hydra.sweeper.join=true) to help it"
                )
            self._write_description()
            logger.info(f"study {self._name} in {self._storage.url}")
            if requeued := self._study.requeue_lost():
                logger.info(f"{requeued} trials of dead workers are requeued")
            try:
                self._run_synced(leads)
            except BaseException:
                if leads or self._storage.try_lock(self._name, LEADER_LOCK, stack):
                    self._write_results()
                raise
            if not leads:
                # The leader may be gone, or ending: the last one writes the results.
                stack.enter_context(self._storage.lock(self._name, LEADER_LOCK))
            if leads or not self._has_results():
                self._write_results()
            if into is not None:
                copy_results(self.folder, into)
        records = self._study.records()
        self._log_results(records)
        return records

    def _choose_destination(self) -> tuple[str, str]:
        """Return the store and the experiment of the search: the requested, unless the store has it in another."""
        base = self._spec.base
        uri, experiment = tracking_uri(self._project, base.tracking.uri), experiment_name(base)
        try:
            known = requested_destination(self._project, read_search(self.folder, DESCRIPTION))
        except (FileNotFoundError, DamagedError, ConfigError):
            return uri, experiment
        if known[0] != uri or known[1] == experiment or not (self.folder / RECORD).is_file():
            return uri, experiment
        logger.info(f"{self._name}: is in MLflow's experiment {known[1]} already, and not copied to {experiment}")
        return known

    def _write_description(self) -> None:
        remove_half_written(self.folder)
        search = self._spec.search
        body = {
            "study": self._name,
            "name": search.name,
            "words": list(self._words),
            TRACKING: {"uri": self._spec.base.tracking.uri, "experiment": self._destination[1]},
            "objectives": list(search.objectives),
            "space": self._spec.space.tree(),
            "epochs": search.epochs,
            "sampler": search.sampler,
            "pruner": search.pruner,
        }
        with locked(self.folder / f"{DESCRIPTION}.lock"):
            write_json(self.folder / DESCRIPTION, body)

    def _run_synced(self, leads: bool) -> None:
        with ExitStack() as stack:
            if leads:
                stack.enter_context(locked(self.folder / LOCK))  # MLflow shows the search as running
            sync = BackgroundSync(self._project, *self._destination, is_low_priority=True)
            stack.callback(sync.close)
            try:
                self._run_workers(sync)
            finally:
                self._sync_ended(sync)

    def _run_workers(self, sync: BackgroundSync) -> None:
        if self._study.is_over():
            return
        task = WorkerTask(self._spec, self._name, self._storage.url, self._digest)
        search = self._spec.search
        pool = WorkerPool(task, min(search.workers or default_workers(), search.parallel_trials))
        progress = SearchProgress(search)
        began = recorded = time.time()
        ended = count(self._study.trials()).ended
        session = uuid4().hex  # process ids are not unique where containers share a study
        with progress.showing():
            pool.start()
            try:
                records = self._study.records()
                while pool.watch(has_progressed=count(records).ended > ended):
                    ended = count(records).ended
                    records = self._sync_ended(sync)
                    if time.time() - recorded > TIME_SECONDS:
                        recorded = time.time()
                        self._study.record_time(session, began)
                    progress.update(records)
                    time.sleep(POLL_SECONDS)
            finally:
                pool.stop()
                self._study.record_time(session, began)
                self._study.requeue_lost()
        if not self._study.is_over():
            raise LenetError("all workers ended with an error, shown above; the same command resumes the search")

    def _sync_ended(self, sync: BackgroundSync) -> list[TrialRecord]:
        """Return the trials, and send those that ended since the last call to MLflow."""
        records = self._study.records()
        for one in records:
            if one.state in ENDED and one.fingerprint and one.number not in self._synced:
                self._synced.add(one.number)
                folder = RunDir(self._project.runs / one.fingerprint)
                if self._is_destination_of(folder):
                    sync.changed(folder)
        return records

    def _is_destination_of(self, folder: RunDir) -> bool:
        """Say whether a trial's run belongs where the search is; one that was there before may be elsewhere."""
        try:
            return requested_destination(self._project, folder.identity()) == self._destination
        except (FileNotFoundError, DamagedError, ConfigError):
            return False

    def _has_results(self) -> bool:
        """Say whether the written results have every trial."""
        try:
            known = read_search(self.folder, SUMMARY)
        except (FileNotFoundError, DamagedError):
            return False
        return bool(known["is_over"] and known["trials"]["all"] == count(self._study.trials()).ended)

    def _write_results(self) -> None:
        is_over, trials = self._study.is_over(), self._study.trials()
        records = trial_records(trials, self._spec.search.objectives)
        write_results(self._spec, self._name, records, is_over, self.folder)
        table, drawn = trials_table(records), self.folder / DRAWN
        is_drawn = (self.folder / PAGE).is_file() and drawn.is_file() and drawn.read_text(encoding="utf-8") == table
        if not is_drawn:
            from lenet.search.page import write_page
            from lenet.search.plots.draw_search import draw_search

            study, best = self._study.snapshot(trials), next(iter(ranked(records)), None)
            draw_search(study, records, self._spec.space, self.folder / PLOTS)
            command = self._command(best) if best else None
            write_page(study, records, self._spec.search.objectives, command, self.folder / PAGE)
            write_text(drawn, table)
        synchronize_search(self._project, self.folder)

    def _command(self, one: TrialRecord) -> str:
        return f"python train.py {shlex.join(self._spec.train_overrides(one.assignment))}"

    def _log_results(self, records: list[TrialRecord]) -> None:
        counts = count(records)
        states = f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed"
        logger.info(f"{counts.ended} trials: {states}")
        for one in [one for one in records if one.state == "FAIL"][:MAX_FAILED_SHOWN]:
            logger.info(f"trial {one.number}: {one.result.get('status', 'failed')}")
        best = next(iter(ranked(records)), None)
        if best is None:
            raise LenetError(f"{self._name}: no trial is complete within the limits; `trials.csv` says why")
        logger.info(f"best: {best.error:.2f} % validation error, trial {best.number}")
        logger.info(f"train it: {self._command(best)}")
        logger.info(f"more: {self.folder / BEST}")
