from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from optuna.trial import TrialState

from lenet.core.errors import LenetError, Stopped
from lenet.runs.run_dir import FINISHED, RunDir, run_dir_for
from lenet.search.heartbeat import FAULTS, MAX_FAULTS, trial_heartbeat
from lenet.search.objective import Objective
from lenet.search.spec import SearchSpec
from lenet.search.study import SearchStudy
from lenet.search.trial_records import RESULT

ReadTiny = Callable[..., SearchSpec]
Open = Callable[..., SearchStudy]

NESTEROV = {"optimizer": {"momentum": {"choices": [0.0, 0.9]}, "nesterov": {"choices": [False, True]}}}
"""Both ends are allowed; Nesterov's momentum of 0 is not."""


def run_next(study: SearchStudy, digest: str) -> None:
    with ExitStack() as stack:
        trial = study.claim(study.register_worker(stack))
        assert trial is not None
        Objective(study, digest).run(trial)


def test_values_that_do_not_go_together_fail_the_trial(read_tiny: ReadTiny, open_study: Open, digest: str) -> None:
    study = open_study(read_tiny("optimizer=sgd", space=NESTEROV))
    study.study.enqueue_trial({"optimizer.momentum": 0.0, "optimizer.nesterov": True})
    run_next(study, digest)
    (trial,) = study.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[RESULT]["status"].startswith("not trained: optimizer.nesterov=")


def test_a_network_over_the_limit_is_not_trained(read_tiny: ReadTiny, open_study: Open, digest: str) -> None:
    study = open_study(read_tiny("search.limits.parameters=10"))
    run_next(study, digest)
    (record,) = study.records()
    assert (record.state, record.is_feasible, record.result["epochs"]) == ("PRUNED", False, 0)
    assert not study.spec.project.runs.exists() or not list(study.spec.project.runs.glob("*/history.json"))


def test_the_same_values_are_trained_once_and_a_damaged_history_is_repaired(
    read_tiny: ReadTiny, open_study: Open, digest: str
) -> None:
    spec = read_tiny("search.trials=2")
    study = open_study(spec)
    for _ in range(2):
        study.study.enqueue_trial({"optimizer.learning_rate": 0.004})
    run_next(study, digest)
    folder = run_dir_for(spec.project, spec.config_for({"optimizer.learning_rate": 0.004}), digest)
    history = folder.history()
    (folder.path / "history.json").write_text("{")
    run_next(study, digest)
    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE] * 2
    assert folder.state() == FINISHED
    assert [row["val/error"] for row in RunDir(folder.path).history()] == [row["val/error"] for row in history]


def test_a_trial_whose_workers_end_with_errors_fails_at_last(
    read_tiny: ReadTiny, open_study: Open, digest: str
) -> None:
    study = open_study(read_tiny())
    shutil.rmtree(study.spec.project.prepared("tiny"))
    for faults in range(1, MAX_FAULTS):
        with pytest.raises((LenetError, OSError)):
            run_next(study, digest)
        (trial,) = study.trials()
        assert (trial.state, trial.user_attrs[FAULTS]) == (TrialState.WAITING, faults)
    with pytest.raises((LenetError, OSError)) as caught:
        run_next(study, digest)
    (trial,) = study.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs[RESULT]["status"].endswith(str(caught.value))


def test_a_signal_requeues_a_trial_without_limit(read_tiny: ReadTiny, open_study: Open) -> None:
    study = open_study(read_tiny())
    for _ in range(MAX_FAULTS + 1):
        with ExitStack() as stack:
            trial = study.claim(study.register_worker(stack))
            assert trial is not None
            with pytest.raises(Stopped), trial_heartbeat(study, trial):
                raise Stopped(15)
    (found,) = study.trials()
    assert found.state == TrialState.WAITING
    assert FAULTS not in found.user_attrs
