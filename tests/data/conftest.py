from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rude_server import Server
from tiny_set import Tiny

from lenet.core.project import Project


@pytest.fixture
def tiny() -> Tiny:
    return Tiny()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(root=tmp_path / "project", home=tmp_path / "project")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()
