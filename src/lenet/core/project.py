"""The folders of a project: the workspace, and the home that all workspaces of a project share."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lenet.core.errors import ConfigError, LenetError

HOME_VARIABLE = "LENET_HOME"
MARKERS = ("conf/config.yaml", "params.yaml", "dvc.yaml")
DVC_EXPERIMENTS = (".dvc", "tmp", "exps")
DVC_EXPERIMENT_VARIABLE = "DVC_EXP_NAME"
"""DVC sets it for the stages of `dvc exp run`, in the workspace as in a temporary folder."""

SWEEP_ID = re.compile(r"[0-9a-f]{32}")
SWEEP_LOCK = "lock"
"""File in a sweep's folder, held for as long as the sweep runs."""


@dataclass(frozen=True)
class Project:
    """A checkout and its home.

    Attributes:
        root: the workspace: conf, data, results; a copy of the project in DVC's temporary experiments.
        home: what must be one for all copies: run folders, MLflow's database, their locks.
    """

    root: Path
    home: Path

    @property
    def is_experiment(self) -> bool:
        """Whether this is a DVC experiment, whose results may be discarded."""
        return bool(os.environ.get(DVC_EXPERIMENT_VARIABLE)) or _copied_from(self.root) is not None

    def refuse_experiment(self, command: str) -> None:
        """Refuse a command that changes more than the workspace in a DVC experiment.

        Args:
            command: as it is typed.

        Raises:
            LenetError: this is a DVC experiment.
        """
        if self.is_experiment:
            raise LenetError(
                f"{command}: not in a DVC experiment; run `dvc exp apply` in the project, then this command there"
            )

    @property
    def conf(self) -> Path:
        """The Hydra configuration."""
        return self.root / "conf"

    @property
    def runs(self) -> Path:
        """The run folders."""
        return self.home / "runs"

    @property
    def sweeps(self) -> Path:
        """One folder for each sweep that runs."""
        return self.runs / ".sweeps"

    def sweep(self, sweep_id: str) -> Path:
        """Return a sweep's folder.

        Raises:
            ConfigError: `sweep_id` is not one that lenet made.
        """
        if not SWEEP_ID.fullmatch(sweep_id):
            raise ConfigError(f"hydra.callbacks.lenet.sweep={sweep_id}: is drawn by lenet; leave it out")
        return self.sweeps / sweep_id

    def raw(self, name: str) -> Path:
        """The folder of a data set's original files."""
        return self.root / "data" / "raw" / name

    def prepared(self, name: str) -> Path:
        """The folder of a data set's arrays and card."""
        return self.root / "data" / "prepared" / name


def find_project(start: Path | None = None) -> Project:
    """Find the project that `start` (default: the working folder) lies in.

    The home is LENET_HOME where it is set, otherwise the root of the checkout; a copy that DVC made for a temporary
    experiment (`.dvc/tmp/exps/…`) has the home of the project it was copied from.

    Raises:
        LenetError: `start` lies in no project.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if all((folder / marker).is_file() for marker in MARKERS):
            return Project(root=folder, home=_find_home(folder))
    raise LenetError(f"{here}: not inside a LeNet Lab project (no folder above has {', '.join(MARKERS)}); cd into one")


def _find_home(root: Path) -> Path:
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser().resolve()
    return _copied_from(root) or root


def _copied_from(root: Path) -> Path | None:
    """Return the project that DVC copied for a temporary experiment; None: `root` is no such copy."""
    for folder in root.parents:
        if folder.parts[-len(DVC_EXPERIMENTS) :] == DVC_EXPERIMENTS:
            return folder.parents[len(DVC_EXPERIMENTS) - 1]
    return None
