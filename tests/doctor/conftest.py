from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from doctored import VARIABLES, Sample, fill

from lenet.core.project import Project


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Sample]:
    """A sample that is built once; the tests get it through `sample`."""
    root = tmp_path_factory.mktemp("doctor") / "project"
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        fill(Project(root, root), tiny_data)
    shutil.copytree(root, root.parent / "kept")
    return Sample(Project(root, root))


@pytest.fixture
def sample(built: Sample, clean_environment: None) -> Iterator[Sample]:
    """The sample as it was built, at the same path: MLflow keeps absolute paths of artifacts."""
    yield built
    shutil.rmtree(built.root)
    shutil.copytree(built.root.parent / "kept", built.root)
