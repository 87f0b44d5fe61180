"""Searches of the tiny project, small enough to be asked in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lenet.data.prepared import training_digest
from lenet.project import Project
from lenet.search.question import Question, read_question
from lenet.search.storage import open_storage, study_url
from lenet.search.study import SharedStudy

TINY = {
    "name": "tiny",
    "base": ["experiment=lenet5_relu", "data=tiny", "trainer.batch_size=50"],
    "objectives": ["val/error"],
    "limits": {"parameters": None, "latency_ms": None},
    "sampler": "random",
    "startup_trials": 2,
    "pruner": "none",
    "reduction_factor": 2,
    "first_epoch": 1,
    "epochs": 2,
    "trials": 4,
    "minutes": None,
    "workers": 1,
    "seed": 1,
    "storage": None,
    "space": {"optimizer": {"learning_rate": {"low": 0.001, "high": 0.02, "log": True}}},
}

Ask = Callable[..., Question]


@pytest.fixture
def ask(project: Project) -> Ask:
    """Return the tiny search with words of the user's, its file changed as in `sampler="tpe"`."""

    def read(*words: str, **change: object) -> Question:
        path = project.conf / "search" / "tiny.yaml"
        path.write_text(yaml.safe_dump(TINY | change, sort_keys=False))
        return read_question(project, ["search=tiny", *words])

    return read


@pytest.fixture
def open_study() -> Callable[..., SharedStudy]:
    """Return a question's study, as a process of its own would open it."""

    def open_one(question: Question, worker: int | None = None) -> SharedStudy:
        project = question.project
        storage = open_storage(project, study_url(project, question.search.storage))
        digest = training_digest(project.prepared("tiny"))
        return SharedStudy(question, storage, question.study_name(digest), worker)

    return open_one


@pytest.fixture
def digest(project: Project) -> str:
    """The digest of the tiny training data."""
    return training_digest(Path(project.prepared("tiny")))
