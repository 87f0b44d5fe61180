from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from optuna.trial import TrialState

from lenet.core.errors import LenetError, Stopped
from lenet.runs.run_dir import FINISHED, RunDir, run_dir_for
from lenet.search.heartbeat import MAX_FAULTS, trial_heartbeat
from lenet.search.objective import Objective
from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy
from lenet.search.trial_attributes import FAULTS, OUTCOME

Ask = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]

TOGETHER = {
    "optimizer": {"momentum": {"choices": [0.0, 0.9]}, "nesterov": {"choices": [False, True]}},
}
"""Both ends are allowed; Nesterov's momentum of 0 is not."""


def answer_next(shared: SearchStudy, digest: str) -> None:
    with ExitStack() as stack:
        trial = shared.claim(shared.register_worker(stack))
        assert trial is not None
        Objective(shared, digest).answer(trial)


def test_values_that_do_not_go_together_fail_the_trial_and_say_why(ask: Ask, open_study: Open, digest: str) -> None:
    shared = open_study(ask("optimizer=sgd", space=TOGETHER), worker=1)
    shared.study.enqueue_trial({"optimizer.momentum": 0.0, "optimizer.nesterov": True})
    answer_next(shared, digest)
    (trial,) = shared.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[OUTCOME]["answer"].startswith("not trained: optimizer.nesterov=")
    with ExitStack() as stack:
        again = shared.claim(shared.register_worker(stack))
        assert again is not None
        assert again.number == 1


def test_a_damaged_history_is_none_and_is_written_anew(ask: Ask, open_study: Open, digest: str) -> None:
    question = ask("search.trials=2")
    shared = open_study(question, worker=1)
    for _ in range(2):  # the same values twice: the second is answered from the first one's run
        shared.study.enqueue_trial({"optimizer.learning_rate": 0.004})
    answer_next(shared, digest)
    folder = run_dir_for(question.project, question.configure({"optimizer.learning_rate": 0.004}), digest)
    history = folder.history()
    (folder.path / "history.json").write_text("{")
    answer_next(shared, digest)
    assert [trial.state for trial in shared.trials()] == [TrialState.COMPLETE] * 2
    assert folder.state() == FINISHED
    assert [row["val/error"] for row in RunDir(folder.path).history()] == [row["val/error"] for row in history]


def test_errors_end_the_work_at_a_trial_so_often_and_then_it_fails(ask: Ask, open_study: Open, digest: str) -> None:
    shared = open_study(ask(), worker=1)
    shutil.rmtree(shared.question.project.prepared("tiny"))
    for count in range(1, MAX_FAULTS):
        with pytest.raises((LenetError, OSError)):
            answer_next(shared, digest)
        (trial,) = shared.trials()
        assert (trial.state, trial.user_attrs[FAULTS]) == (TrialState.WAITING, count)
    with pytest.raises((LenetError, OSError)) as caught:
        answer_next(shared, digest)
    (trial,) = shared.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[OUTCOME]["answer"] == f"given up after 3 errors, the last: {caught.value}"


def test_a_signal_gives_a_trial_back_as_often_as_it_comes(ask: Ask, open_study: Open) -> None:
    shared = open_study(ask(), worker=1)
    for _ in range(MAX_FAULTS + 1):
        with ExitStack() as stack:
            trial = shared.claim(shared.register_worker(stack))
            assert trial is not None
            with pytest.raises(Stopped), trial_heartbeat(shared, trial):
                raise Stopped(15)
    (found,) = shared.trials()
    assert found.state == TrialState.WAITING
    assert FAULTS not in found.user_attrs
