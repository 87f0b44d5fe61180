"""Train the jobs of a sweep in worker processes, as many at once as there are cores or GPUs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lenet.config.validation import parse

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn

WHERE = "hydra.launcher.workers"


class PoolLauncher(Launcher):
    """Gives the jobs of a sweep to worker processes.

    Args:
        workers: processes; 0: one per GPU, or one per core.
    """

    def __init__(self, workers: Any = 0) -> None:
        self._workers = workers  # checked in `launch`: Hydra would wrap an error raised here

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the sweep's config."""
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> "Sequence[JobReturn]":
        """Train the jobs and return their validation errors; see `lenet.hydra_app.jobs.train_jobs`."""
        from lenet.config.hydra_errors import own_faults
        from lenet.core.cli_errors import exit_on_error
        from lenet.hydra_app.jobs import train_jobs
        from lenet.search.search_config import Workers

        def launch() -> "Sequence[JobReturn]":
            workers: int = parse(Workers, self._workers, WHERE)
            return train_jobs(self._config, job_overrides, initial_job_idx, workers)

        with own_faults():
            return exit_on_error(launch)


TARGET = {"_target_": f"{PoolLauncher.__module__}.{PoolLauncher.__name__}", "workers": 0}
ConfigStore.instance().store(group="hydra/launcher", name="pool", node=TARGET)
