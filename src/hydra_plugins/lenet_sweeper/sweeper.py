"""`python train.py -m hydra/sweeper=optuna …`: translate a sweep into the search that `lenet search` runs.

Swept overrides become the search space, all others hold for every trial. Study, workers, resume and results are those
of `lenet search`; Hydra's launcher runs none of the trials.
"""

from dataclasses import asdict
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lenet.config.validation import parse

from ._translation import WHERE, SweeperConfig, read_sweep


class OptunaSweeper(Sweeper):
    """Runs a sweep as a search.

    Args:
        settings: those of `SweeperConfig`, as Hydra composed them.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings  # checked in `sweep`: Hydra would wrap an error raised here

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the sweep's config."""
        self._loader = hydra_context.config_loader
        self._config = config

    def sweep(self, arguments: list[str]) -> None:
        """Run the search, and print its runs as a table.

        Raises:
            ConfigError: a setting or an override is not allowed; nothing was written.
            LenetError: the study's database does not answer, or another command leads this sweep.
        """
        from lenet.config.hydra_errors import own_faults
        from lenet.config.validation import flatten
        from lenet.hydra_app.results_table import Row, print_rows
        from lenet.search.runner import run_search

        with own_faults():
            settings: SweeperConfig = parse(SweeperConfig, self._settings, WHERE)
            spec = read_sweep(settings, arguments, self._config, self._loader)
            records = [one for one in run_search(spec, arguments, settings.join) if one.fingerprint]
            configs = [dict(flatten(spec.config_for(one.assignment).tree())) for one in records]
            print_rows(
                spec.project,
                [
                    Row(one.fingerprint, str(one.result.get("status", "")), config)
                    for one, config in zip(records, configs, strict=True)
                ],
            )


TARGET = {"_target_": f"{OptunaSweeper.__module__}.{OptunaSweeper.__name__}"}
ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=TARGET | asdict(SweeperConfig()))
