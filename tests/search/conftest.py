"""Searches of the tiny project, small enough to run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.search.spec import SearchSpec, read_spec
from lenet.search.storage import open_storage, study_url
from lenet.search.study import SearchStudy
from tiny_search import TINY

ReadTiny = Callable[..., SearchSpec]


@pytest.fixture
def read_tiny(project: Project) -> ReadTiny:
    """Return the tiny search with overrides, its file changed as in `sampler="tpe"`."""

    def read(*words: str, **change: object) -> SearchSpec:
        path = project.conf / "search" / "tiny.yaml"
        path.write_text(yaml.safe_dump(TINY | change, sort_keys=False))
        return read_spec(project, ["search=tiny", *words])

    return read


@pytest.fixture
def open_study() -> Callable[..., SearchStudy]:
    """Return a spec's study, as a process of its own would open it."""

    def open_one(spec: SearchSpec) -> SearchStudy:
        project = spec.project
        storage = open_storage(project, study_url(project, spec.search.storage))
        digest = training_digest(project.prepared("tiny"))
        return SearchStudy(spec, storage, spec.study_name(digest))

    return open_one


@pytest.fixture
def digest(project: Project) -> str:
    """The digest of the tiny training data."""
    return training_digest(Path(project.prepared("tiny")))
