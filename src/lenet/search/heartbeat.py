"""Being at a trial: others see that somebody is, and get it back however the work ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lenet.search.storage import HEARTBEAT_SECONDS, failures, is_storage_error
from lenet.search.study_queue import StudyQueue
from lenet.search.trial_attributes import FAULTS, OUTCOME

if TYPE_CHECKING:
    from optuna import Trial

MAX_FAULTS = 3
"""Errors that may end the work at a trial before it fails: what ends every worker that takes it is the trial's own."""


@contextmanager
def trial_heartbeat(study: StudyQueue, trial: Trial) -> Iterator[None]:
    """Show within the block, from a thread, that the trial is worked at; a block that fails gives it back.

    A signal gives it back as often as it comes, errors up to `MAX_FAULTS` times.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            with suppress(*failures()):  # the database is away: the work itself finds out, and says so
                study.storage.database.record_heartbeat(trial._trial_id)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    except UpdateFinishedTrialError:  # another has it: there is nothing to give back
        raise
    except Exception as error:
        if is_storage_error(error):  # no fault of the trial's; if it cannot be given back, its heartbeats end
            with suppress(*failures()):
                study.requeue(trial)
        else:
            _give_up(study, trial, error)
        raise
    except BaseException:  # a signal
        study.requeue(trial)
        raise
    finally:
        over.set()
        thread.join()


def _give_up(study: StudyQueue, trial: Trial, error: Exception) -> None:
    """Give back a trial at which an error ended the work; with the last of `MAX_FAULTS` it fails instead."""
    number, database = trial._trial_id, study.storage.database
    faults = int(database.get_trial(number).user_attrs.get(FAULTS, 0)) + 1
    database.set_trial_user_attr(number, FAULTS, faults)
    if faults < MAX_FAULTS:
        study.requeue(trial)
        return
    why = " ".join(str(error).split()) or type(error).__name__
    outcome = {"answer": f"given up after {faults} errors, the last: {why}", "ended": round(time.time(), 3)}
    database.set_trial_user_attr(number, OUTCOME, outcome)
    study.tell(trial, None, "FAIL")
