"""The entry of train.py: check all jobs of a sweep before the first is trained, and print a table at its end."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

import lenet.core.fast_imports  # noqa: F401
from lenet.config.compose import register_resolvers, to_config
from lenet.config.help_text import help_text
from lenet.config.hydra_errors import own_faults, translate_hydra_errors
from lenet.config.schema import Config
from lenet.config.validation import flatten
from lenet.core.atomic_io import read_json, remove, write_json
from lenet.core.cli_errors import check_words, exit_on_error, hide_passwords, survive_any_terminal
from lenet.core.errors import ConfigError, LenetError
from lenet.core.file_lock import locked
from lenet.core.log import configure_logging
from lenet.core.project import SWEEP_LOCK, Project, find_project
from lenet.core.urls import without_password
from lenet.hydra_app.results_table import Row, print_rows
from lenet.runs.get_or_train import RunMetadata
from lenet.runs.run_dir import HEADLINE

if TYPE_CHECKING:
    from omegaconf import DictConfig

DESCRIPTION = "sweep.json"
ROWS = "[0-9]*.json"
"""Files in a sweep's folder, one a job."""

NAMED_GROUPS = ("model", "augmentation", "optimizer")
"""Groups whose choice is part of a run's name; the variant is in it anyway, and data and trainer are not the recipe."""

BASIC_SWEEPER, OWN_SWEEPER = ".BasicSweeper", "hydra_plugins.lenet_sweeper."
"""End of the class name of Hydra's basic sweeper, and start of that of ours, which runs a search and no jobs."""

OWN_LAUNCHER = "hydra_plugins.lenet_launcher."
"""Start of the class name of the launcher that trains in worker processes."""

_composed: dict[tuple[str, ...], Config] = {}
"""The jobs of this process's sweep, by their overrides."""

_open_sweep = ExitStack()
"""Holds the lock of this process's sweep, and removes its folder; the callback cannot, as launchers pickle it."""


def folder_of(config: DictConfig) -> Path:
    """Return the folder of a sweep, given its config or a job's, with Hydra's own part."""
    return project_of(config).sweep(str(config.hydra.callbacks.lenet.sweep))


def run_app(train: Callable[[], Any]) -> None:
    """Run Hydra's main so that a user's mistake is one line and a signal has its exit code."""

    def run() -> None:
        check_words(sys.argv[1:])
        project = find_project(Path(sys.argv[0]).resolve().parent)
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(help_text(project.conf))
            return
        register_resolvers(project)
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra passes errors on, to become one line here
        warnings.filterwarnings("ignore", message="Experimental rerun CLI option")  # its user knows
        with _open_sweep, translate_hydra_errors(project.conf, sys.argv[1:]):
            train()

    configure_logging()
    hide_passwords()
    survive_any_terminal()
    exit_on_error(run)


def run_name(config: Config, overrides: Sequence[str]) -> str:
    """Return a run's name: its variant and the overrides that change the weights, each knob by its last name."""
    changes_weights = dict(flatten(config.identity()))
    named = []
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if key in changes_weights or key.split("/")[0] in NAMED_GROUPS:
            named.append(f"{key.split('.')[-1]}={value}")
    if not any(part.startswith("seed=") for part in named):
        named.append(f"seed={config.seed}")
    return " ".join([config.name, *named])


def run_job(tree: DictConfig) -> float | None:
    """Get or train the run of one job, alone or of a sweep; return its validation error, for Hydra's sweepers.

    Raises:
        SystemExit: it failed; Hydra would report an Exception in its own, longer way.
    """
    with own_faults():
        return exit_on_error(lambda: _run_job(tree))


def _run_job(tree: DictConfig) -> float | None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    config, project = to_config(tree), find_project(Path(hydra.runtime.config_sources[1].path))
    overrides = tuple(hydra.overrides.task)
    if config.trainer.max_batches is not None:
        return try_out(project, config)
    is_sweep = hydra.mode == RunMode.MULTIRUN
    name = run_name(config, overrides)
    folder = project.sweep(str(hydra.callbacks["lenet"]["sweep"])) if is_sweep else None
    sweep = str(read_json(folder / DESCRIPTION)["name"]) if folder else None
    from lenet.execution.runner import Runner

    with Runner(project) as runner:
        result = runner.get_or_train(config, RunMetadata(name, sweep, overrides), may_fail=is_sweep)
    row = Row(result.run_dir.fingerprint, result.outcome, dict(flatten(config.tree())))
    if folder:
        write_json(folder / f"{int(hydra.job.num):06d}.json", asdict(row))
    else:
        print_rows(project, [row])
    return row.error(project)


def try_out(project: Project, config: Config) -> float | None:
    """Train on a few batches, as trainer=debug does, and keep nothing; return the validation error."""
    from lenet.data.datasets import ensure_prepared
    from lenet.execution.runner import validate_resources
    from lenet.execution.unrecorded import train_unrecorded

    prepared = ensure_prepared(project, config.data.name)
    validate_resources(project, config)
    last = train_unrecorded(config, prepared)[1][-1]
    measured = ", ".join(f"{name} {last[name]:.2f}" for name in HEADLINE if name in last)
    print(f"{config.trainer.max_batches} batches an epoch: {measured}; nothing is kept (trainer.max_batches)")
    return last.get("val/error")


class SweepCallback(Callback):
    """Checks every job of a sweep before the first is trained, and prints the table when the last is done.

    Hydra turns an Exception of a callback into a warning, but not a SystemExit.

    Args:
        sweep: the sweep's id; not used, as the configs of the sweep and of its jobs have it too.
    """

    def __init__(self, sweep: str = "") -> None:
        pass

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Compose and check every job that the basic sweeper will run, then make the sweep's folder."""
        exit_on_error(lambda: _begin_sweep(config))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table and the link; failed jobs make the command fail."""
        exit_on_error(lambda: _close_sweep(config))


def project_of(config: DictConfig) -> Project:
    """Return the project of a config composed by Hydra, with Hydra's own part."""
    sources = {source.provider: source.path for source in config.hydra.runtime.config_sources}
    return find_project(Path(sources["main"]))


def compose_job(config: DictConfig, words: Sequence[str]) -> Config:
    """Compose one job of a sweep, which takes Hydra a tenth of a second, unless that was done before.

    Args:
        config: the sweep's, with Hydra's own part.
        words: the job's overrides, as Hydra has them.

    Raises:
        ConfigError: something is not allowed.
    """
    from hydra.core.global_hydra import GlobalHydra

    if tuple(words) not in _composed:
        with translate_hydra_errors(project_of(config).conf, words):
            tree = GlobalHydra.instance().config_loader().load_sweep_config(config, list(words))
        _composed[tuple(words)] = to_config(tree)
    return _composed[tuple(words)]


def swept_words(config: DictConfig) -> list[str]:
    """Return what the basic sweeper sweeps over: the overrides of a file (`hydra.sweeper.params`), then the typed."""
    from omegaconf import OmegaConf

    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]


def _begin_sweep(config: DictConfig) -> None:
    from omegaconf import OmegaConf

    sweeper = str(OmegaConf.select(config, "hydra.sweeper._target_"))
    if sweeper.startswith(OWN_SWEEPER):
        return
    _open_sweep.close()  # a process runs one sweep at a time
    _composed.clear()
    if sweeper.endswith(BASIC_SWEEPER):
        _check_jobs(config)
    folder = folder_of(config)
    _open_sweep.enter_context(locked(folder / SWEEP_LOCK))
    _open_sweep.callback(remove, folder, project_of(config).runs)
    write_json(folder / DESCRIPTION, {"name": without_password(" ".join(swept_words(config)))})


def _check_jobs(config: DictConfig) -> None:
    from omegaconf import OmegaConf

    from lenet.execution.local import start_workers
    from lenet.execution.runner import validate_resources

    project, launcher = project_of(config), str(OmegaConf.select(config, "hydra.launcher._target_"))
    for number, job in enumerate(_grid(project, swept_words(config))):
        one = compose_job(config, job)
        validate_resources(project, one)
        if launcher.startswith(OWN_LAUNCHER) and not number:
            start_workers(project, one)


def _grid(project: Project, words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Give the overrides of each job that the basic sweeper will run; of two for one key the last one counts.

    Raises:
        ConfigError: an override cannot be parsed, or has no values to sweep over.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())  # for glob(…)
    values: dict[str, list[str]] = {}
    for word in words:
        with translate_hydra_errors(project.conf, [word]):
            (override,) = parser.parse_overrides([word])
            key = override.get_key_element()
            if override.is_interval_sweep():
                raise ConfigError(f"{word}: is an interval, which lists no values; hydra/sweeper=optuna draws from one")
            is_swept = override.is_sweep_override()
            values[key] = [f"{key}={value}" for value in override.sweep_string_iterator()] if is_swept else [word]
            if not values[key]:
                raise ConfigError(f"{word}: has no value")
    yield from itertools.product(*values.values())


def _close_sweep(config: DictConfig) -> None:
    if str(config.hydra.sweeper._target_).startswith(OWN_SWEEPER):
        return
    project = project_of(config)
    folder = folder_of(config)
    rows = [Row(**read_json(path)) for path in sorted(folder.glob(ROWS))]
    if rows:  # none of a sweep that keeps nothing
        print_rows(project, rows)
    _open_sweep.close()
    failed = [row for row in rows if row.is_failed]
    if failed:
        raise LenetError(f"{len(failed)} of {len(rows)} runs failed; the table says why")
