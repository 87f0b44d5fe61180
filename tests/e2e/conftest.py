"""Real MNIST in a fresh copy of the project, for all end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import Shell, copy_project


@pytest.fixture(scope="session")
def project_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose MNIST is fetched and prepared, shared by tests that do not change it."""
    root = copy_project(tmp_path_factory.mktemp("copy") / "lenet-lab")
    Shell(root, root).run("lenet data mnist")
    return root


@pytest.fixture
def shell(project_root: Path, tmp_path: Path) -> Shell:
    """A shell in the shared copy, with runs and MLflow store of its own."""
    return Shell(project_root, tmp_path / "home")
