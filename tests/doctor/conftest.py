"""The house, built once and given whole to every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, build, keep_in_dvc, register, search

from lenet.core.project import Project


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[House]:
    root = tmp_path_factory.mktemp("house") / "project"
    project = Project(root, root)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LENET_HOME", "MLFLOW_TRACKING_URI", "DVC_STAGE"):
            patch.delenv(name, raising=False)
        build(project, tiny_data)
        register(project)
        search(project)
        keep_in_dvc(root)
        kept = root.parent / "kept"
        shutil.copytree(root, kept)
        yield House(project, kept)
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def house(built: House, clean_environment: None) -> Iterator[House]:
    """The house, as it was built, at the same place: MLflow knows its artifacts by their absolute paths."""
    yield built
    shutil.rmtree(built.root)
    shutil.copytree(built.kept, built.root)
