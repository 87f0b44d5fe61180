from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra

from lenet.config.compose import VERSION_BASE, register_resolvers
from lenet.config.schema import Config
from lenet.config.validation import flatten
from lenet.core.atomic_io import read_json, write_json
from lenet.core.file_lock import is_held
from lenet.core.project import SWEEP_LOCK, Project
from lenet.hydra_app.main import DESCRIPTION, SweepCallback, folder_of, run_name, try_out
from lenet.hydra_app.results_table import Row
from lenet.runs.cleanup import find_removable

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


@pytest.fixture
def loader(project: Project) -> Iterator[ConfigLoader]:
    register_resolvers(project)
    with initialize_config_dir(str(project.conf), version_base=VERSION_BASE):
        yield GlobalHydra.instance().config_loader()


def test_all_jobs_of_a_sweep_have_one_folder_and_two_sweeps_two(project: Project, loader: ConfigLoader) -> None:
    sweeps = [hydra_compose("config", overrides=["data=tiny"], return_hydra_config=True) for _ in range(2)]
    folders = [folder_of(config) for config in sweeps]
    assert len(set(folders)) == 2
    for config, folder in zip(sweeps, folders, strict=True):
        assert folder.parent == project.runs / ".sweeps"
        assert re.fullmatch("[0-9a-f]{32}", folder.name)
        for seed in (1, 2):
            job = loader.load_sweep_config(config, [f"seed={seed}"])
            assert folder_of(job) == folder
            assert job.hydra.sweep.dir == str(folder)
        elsewhere = loader.load_sweep_config(config, ["hydra.sweep.dir=/somewhere"])
        assert (elsewhere.hydra.sweep.dir, folder_of(elsewhere)) == ("/somewhere", folder)
        assert not folder.exists()


def test_a_sweep_is_at_work_until_its_table_is_shown(
    project: Project, loader: ConfigLoader, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = project.root / "mine"
    victim.mkdir()
    (victim / "letter.txt").write_text("dear")
    monkeypatch.setenv("LENET_SWEEP_FOLDER", str(victim))
    config = hydra_compose("config", overrides=["data=tiny", "seed=1"], return_hydra_config=True)
    callback, folder = SweepCallback("not read"), folder_of(config)
    callback.on_multirun_start(config)
    assert is_held(folder / SWEEP_LOCK)
    assert find_removable(project) == []
    assert read_json(folder / DESCRIPTION) == {"name": "data=tiny seed=1"}
    callback.on_multirun_end(config)
    assert not folder.exists()
    assert (victim / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("outcomes", "complaint"),
    [
        (["trained", "already trained"], ""),
        (["trained", "failed: the loss is not finite", "failed: x"], "error: 2 of 3 runs failed; the table says why\n"),
    ],
)
def test_a_sweep_with_failed_jobs_fails_after_its_table(
    project: Project,
    loader: ConfigLoader,
    make_config: MakeConfig,
    capsys: pytest.CaptureFixture[str],
    outcomes: list[str],
    complaint: str,
) -> None:
    config = hydra_compose("config", overrides=["data=tiny", "seed=1"], return_hydra_config=True)
    callback, folder = SweepCallback("not read"), folder_of(config)
    callback.on_multirun_start(config)
    for number, outcome in enumerate(outcomes):
        row = Row(str(number) * 64, outcome, dict(flatten(make_config(seed=number).tree())))
        write_json(folder / f"{number:06d}.json", asdict(row))
    with pytest.raises(SystemExit) if complaint else nullcontext() as caught:
        callback.on_multirun_end(config)
    told = capsys.readouterr()
    assert (caught.value.code if caught else 0, told.err) == (int(bool(complaint)), complaint)
    rows = [line.split()[0] for line in told.out.splitlines()[1 : len(outcomes) + 1]]
    assert rows == [str(number) * 12 for number in range(len(outcomes))]
    assert not folder.exists()


def test_a_training_on_a_few_batches_keeps_nothing(
    project: Project, make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path for path in project.home.rglob("*") if path.is_file()}
    error = try_out(project, make_config(trainer__max_batches=1))
    assert error is not None
    assert 0 <= error <= 100
    assert f"val/error {error:.2f}" in capsys.readouterr().out
    assert {path for path in project.home.rglob("*") if path.is_file()} == before
