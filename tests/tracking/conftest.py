from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tracked import Lab

from lenet.core.project import Project


@pytest.fixture
def lab(project: Project, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    shutil.copyfile(empty_store, project.home / "mlflow.db")
    return Lab(project)
