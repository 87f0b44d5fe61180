from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from lenet.config import Config
from lenet.project import Project
from lenet.sweep import run_name, sweep_folder

MakeConfig = Callable[..., Config]


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "tiny_variant seed=1"),
        (["seed=1"], "tiny_variant seed=1"),
        (["experiment=lenet5_relu"], "tiny_variant seed=1"),
        (["model.activation=relu", "seed=1"], "tiny_variant activation=relu seed=1"),
        (["+optimizer.learning_rate=0.1"], "tiny_variant learning_rate=0.1 seed=1"),
        (["optimizer=sgd"], "tiny_variant optimizer=sgd seed=1"),
        (["trainer.epochs=3"], "tiny_variant epochs=3 seed=1"),
        (["data.train_size=100"], "tiny_variant train_size=100 seed=1"),
        (["trainer=cpu", "trainer.threads=1", "tracking.experiment=x", "data=tiny"], "tiny_variant seed=1"),
    ],
)
def test_a_run_is_called_by_its_variant_and_what_differs(
    make_config: MakeConfig, overrides: list[str], name: str
) -> None:
    assert run_name(make_config(), overrides) == name


def test_all_processes_of_a_sweep_have_one_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sweep_folder(project)
    assert folder == project.runs / ".sweeps" / str(os.getpid())
    assert sweep_folder(Project(project.root / "x", project.root / "x")) == folder  # it is in the environment
    assert not folder.exists()
