"""Send heartbeats for a trial, and requeue it if its worker fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lenet.search.storage import HEARTBEAT_SECONDS, database_errors, is_storage_error
from lenet.search.study import SearchStudy
from lenet.search.trial_records import RESULT

if TYPE_CHECKING:
    from optuna import Trial

FAULTS = "lenet.faults"
"""User attribute of a trial: how many errors its workers had."""

MAX_FAULTS = 3
"""Errors after which a trial fails: an error of every worker that takes it is the trial's own."""


@contextmanager
def trial_heartbeat(study: SearchStudy, trial: Trial) -> Iterator[None]:
    """Send heartbeats from a thread within the block; a block that raises requeues the trial.

    After a signal it is always requeued, after an error up to `MAX_FAULTS` times.
    """
    from optuna.exceptions import UpdateFinishedTrialError

    number, over = study.trial_id(trial), threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            with suppress(*database_errors()):  # the database is away: the training's own calls report it
                study.storage.database.record_heartbeat(number)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    except UpdateFinishedTrialError:  # another worker has it
        raise
    except Exception as error:
        if is_storage_error(error):  # not the trial's fault; if it cannot be requeued, its heartbeats end
            with suppress(*database_errors()):
                study.requeue(trial)
        else:
            _requeue_or_fail(study, trial, number, error)
        raise
    except BaseException:  # a signal
        study.requeue(trial)
        raise
    finally:
        over.set()
        thread.join()


def _requeue_or_fail(study: SearchStudy, trial: Trial, number: int, error: Exception) -> None:
    database = study.storage.database
    faults = int(database.get_trial(number).user_attrs.get(FAULTS, 0)) + 1
    database.set_trial_user_attr(number, FAULTS, faults)
    if faults < MAX_FAULTS:
        study.requeue(trial)
        return
    reason = " ".join(str(error).split()) or type(error).__name__
    status = f"failed: {faults} workers ended with an error, the last: {reason}"
    database.set_trial_user_attr(number, RESULT, {"status": status, "ended": round(time.time(), 3)})
    study.finish(trial, None, "FAIL")
