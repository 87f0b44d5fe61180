"""The plugin that Hydra finds."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from ._knobs import GROUP, NAME, SweeperConf


class OptunaSweeper(Sweeper):
    """Has Optuna propose a sweep's values, one job after the other.

    Args:
        knobs: those of `SweeperConf`.
    """

    def __init__(self, **knobs: Any) -> None:
        self._knobs = knobs  # checked in `sweep`: an error in here would be wrapped by Hydra
        self.hydra_context: HydraContext | None = None
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what Hydra gives, and have it make the launcher."""
        from hydra.core.plugins import Plugins

        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Answer trials until there are n_trials, from where the same sweep was left.

        Raises:
            ConfigError: a knob, an override, or an end of what is swept is not allowed; nothing was written.
            LenetError: the study's database does not answer.
        """
        from lenet.config.hydra_errors import own_faults

        from ._sweep import sweep

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        with own_faults():
            sweep(self._knobs, arguments, self.config, self.hydra_context.config_loader, self.launcher)


ConfigStore.instance().store(group=GROUP, name=NAME, node=SweeperConf, provider="lenet")
