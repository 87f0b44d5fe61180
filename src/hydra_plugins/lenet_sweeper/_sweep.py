"""One command's part in a sweep: from its overrides to the best of its trials."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from lenet.config.hydra_errors import translate_hydra_errors
from lenet.core.errors import ConfigError
from lenet.execution.runner import say
from lenet.hydra_app.main import open_sweep, write_summary
from lenet.runs.run_dir import run_dir_for
from lenet.search.heartbeat import trial_heartbeat
from lenet.search.samplers import named_sampler
from lenet.search.storage import WATCH, open_storage, storage_errors
from lenet.search.study_queue import StudyQueue
from lenet.search.trial_attributes import FINGERPRINT, OUTCOME
from lenet.search.worker import WAIT_SECONDS

from ._knobs import WHERE
from ._question import SearchSpec, read_spec

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader
    from hydra.plugins.launcher import Launcher
    from omegaconf import DictConfig
    from optuna import Trial
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

IDENTITY = "lenet.sweep"
"""User attribute of a study: which sweep made it."""

REFUSED = "lenet.refused"
"""User attribute of a trial whose values do not go together: why."""


def sweep(
    knobs: Mapping[str, Any],
    words: Sequence[str],
    master: DictConfig,
    loader: ConfigLoader,
    launcher: Launcher,
    tell: Callable[[str], None] = say,
) -> None:
    """Answer trials until there are n_trials, from where the same sweep was left.

    Args:
        knobs: the sweeper's.
        words: the overrides, swept and fixed.
        master: the sweep's config, Hydra's own part included.
        loader: knows the groups' options.
        launcher: runs the jobs.
        tell: takes a line for the user.

    Raises:
        ConfigError: something is not allowed; nothing was written.
        LenetError: the data or the study's database is not there.
    """
    question = read_spec(knobs, words, master, loader, tell)
    open_sweep(master)
    with ExitStack() as stack:
        Sweep(question, launcher, tell, stack).run()


class Sweep:
    """One command's part in a sweep.

    Args:
        question: the sweep.
        launcher: runs the jobs.
        tell: takes a line for the user.
        until: closed when the command has no part in the sweep any more.

    Raises:
        ConfigError: the study is another sweep's.
        LenetError: the study's database does not answer.
    """

    def __init__(self, question: SearchSpec, launcher: Launcher, tell: Callable[[str], None], until: ExitStack) -> None:
        self._question = question
        self._launcher = launcher
        self._tell = tell
        self._limit = question.knobs.n_trials
        self._shown: set[int] = set()
        storage = open_storage(question.project, question.url)
        self._study = StudyQueue(storage, question.study_name, self._sampler(0), trials=self._limit)
        until.enter_context(storage_errors(storage.url))
        self._check_identity()
        self._seat = self._study.register_worker(until)
        self._study.study.sampler = self._sampler(self._seat)  # no two seats propose the same

    def _sampler(self, seat: int) -> BaseSampler:
        knobs = self._question.knobs
        return named_sampler(knobs.sampler, knobs.startup_trials, knobs.seed, seat)

    def _check_identity(self) -> None:
        """Make a new study this sweep's; refuse one that is not."""
        name, study = self._study.name, self._study.study
        with self._study.storage.lock(name, WATCH):
            made_by = study.user_attrs.get(IDENTITY)
            if made_by is None and not study.get_trials(deepcopy=False):
                study.set_user_attr(IDENTITY, self._question.identity)
            elif made_by != self._question.identity:
                raise ConfigError(f"{WHERE}.study_name={name}: is another sweep's study; choose another name, or null")

    def run(self) -> None:
        """Answer trials until there are n_trials, whoever else answers some of them, and name the best."""
        recovered = self._study.recover()
        done = sum(trial.state.is_finished() for trial in self._study.trials())
        place = f"study {self._study.name} in {self._study.storage.url}"
        self._tell(f"{place}: {done} of {self._limit} trials are done")
        if recovered:
            self._tell(f"{recovered} trials were left behind by processes that are gone; they go on")
        while not self._is_over():
            trial = self._study.claim(self._seat)
            if trial is not None:
                self._answer(trial)
            else:
                time.sleep(WAIT_SECONDS)  # another process is at the last ones, and may leave them behind
        self._conclude()

    def _is_over(self) -> bool:
        """Show what ended since the last look; say whether that was all."""
        ended = [trial for trial in self._study.trials() if trial.state.is_finished()]
        for trial in ended:
            if trial.number not in self._shown:
                self._show(trial)
        return len(ended) == self._limit

    def _show(self, trial: FrozenTrial) -> None:
        """Have a trial that ended before answered from its run's folder, which also mends what is missing there."""
        self._shown.add(trial.number)
        if REFUSED in trial.user_attrs:
            self._tell_refused(trial.number, trial.user_attrs[REFUSED])
        elif OUTCOME in trial.user_attrs:  # errors ended the work at it too often: it is not begun again
            self._tell(f"trial {trial.number}: {trial.user_attrs[OUTCOME]['answer']}")
        else:
            self._launch(trial.number, self._question.space.words(trial.params))

    def _answer(self, trial: Trial) -> None:
        with trial_heartbeat(self._study, trial):
            value = self._value(trial)
        self._study.tell(trial, None if value is None else [value], "FAIL" if value is None else "COMPLETE")
        self._shown.add(trial.number)

    def _value(self, trial: Trial) -> float | None:
        """Return the validation error in percent of a trial's run; None where it has none."""
        question = self._question
        words = question.space.words(question.space.space.suggest(trial))
        try:
            config = question.configure(words)
        except ConfigError as error:  # every end is allowed, and these values together are not
            trial.set_user_attr(REFUSED, str(error))
            self._tell_refused(trial.number, str(error))
            return None
        folder = run_dir_for(question.project, config, question.digests[config.data.name])
        trial.set_user_attr(FINGERPRINT, folder.fingerprint)
        value = self._launch(trial.number, words)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    def _launch(self, number: int, words: Sequence[str]) -> Any:
        """Run the job of a trial; its number is the trial's, so that the table has them in order."""
        with translate_hydra_errors(self._question.project.conf, words):
            (job,) = self._launcher.launch([list(words)], initial_job_idx=number)
        return job.return_value  # raises what the job raised

    def _tell_refused(self, number: int, why: str) -> None:
        self._tell(f"trial {number}: not trained: {why}")

    def _conclude(self) -> None:
        complete = [trial for trial in self._study.trials() if trial.state.name == "COMPLETE"]
        if complete:
            best = min(complete, key=lambda trial: (trial.value, trial.number))
            typed = shlex.join(self._question.space.words(best.params))
            line = f"best:    {best.value:.2f} % validation error, trial {best.number}: python train.py {typed}"
            write_summary(self._question.master, line)
