"""The record of a trained network: its run, its config, its data, and its weights file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import read_json
from lenet.core.errors import DamagedError, LenetError
from lenet.core.paths import BUILT_TRAIN, EVALUATION
from lenet.core.project import Project
from lenet.runs.run_dir import FINISHED, RunDir

if TYPE_CHECKING:
    from lenet.models.classifier import Classifier

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class TrainedModel:
    """A trained network, not loaded yet.

    Attributes:
        name: for people, such as `relu seed=1` or `lenet5/3`.
        config: the config that trained it.
        fingerprint: of the run that trained it.
        data_digest: of the training data.
        weights: the weights file.
        weights_sha256: that file's digest, as it is on record.
        epochs: epochs it was trained for; 0 where that is not on record, as for a registered version.
        trained_by: as `RunDir.trained_by` says; empty where that is not on record.
        metrics: of its last epoch, such as `val/error` in percent; empty where they are not on record.
    """

    name: str
    config: Config
    fingerprint: str
    data_digest: str
    weights: Path
    weights_sha256: str
    epochs: int = 0
    trained_by: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return self.config.seed

    def load(self) -> Classifier:
        """Return the network, from raw bytes to logits, once its weights file proves to be the one on record.

        Raises:
            DamagedError: the file is missing, its sha256 is another, or it holds another network's weights.
        """
        from lenet.evaluation.predict import load_network

        return load_network(self.config, self.weights, self.weights_sha256)


def from_run(folder: RunDir) -> TrainedModel:
    """Return the network of a finished run.

    Raises:
        DamagedError: the run directory is damaged.
        LenetError: the run is not finished.
    """
    if folder.state() != FINISHED:
        raise LenetError(f"{folder.short}: is {folder.state()}; only a finished run has a network (`lenet runs`)")
    identity, files = folder.identity(), folder.status()["files"]
    if WEIGHTS not in files:
        raise DamagedError(f"{folder.path / 'status.json'}: lists no {WEIGHTS}; delete the run's folder, train again")
    return TrainedModel(
        name=f"{folder.short} ({identity['name']})",
        config=folder.config(),
        fingerprint=folder.fingerprint,
        data_digest=identity["data_digest"],
        weights=folder.path / WEIGHTS,
        weights_sha256=files[WEIGHTS],
        epochs=len(folder.history()),
        trained_by=folder.trained_by(),
        metrics=folder.headline(),
    )


def read_variant(project: Project, variant: str) -> list[TrainedModel]:
    """Return the networks of a variant, one a seed, as its training stage left them in build/train/.

    Raises:
        DamagedError: the stage's out is missing or damaged.
    """
    folder = project.root / BUILT_TRAIN / variant
    runs = _read(folder / "runs.json", f"`dvc repro train@{variant}`", {"variant": variant})["runs"]
    return [
        TrainedModel(
            name=f"{variant} seed={run['seed']}",
            config=parse_config(run["config"]),
            fingerprint=run["fingerprint"],
            data_digest=run["data_digest"],
            weights=folder / f"seed-{run['seed']}" / WEIGHTS,
            weights_sha256=run["weights_sha256"],
            epochs=run["epochs"],
            trained_by=run["trained_by"],
            metrics=run["measures"],
        )
        for run in runs
    ]


def read_chosen(project: Project) -> TrainedModel:
    """Return the network that results/evaluation.json chose, as its training stage left it in build/train/.

    Raises:
        DamagedError: one of these files is missing or damaged.
        LenetError: the training stage has no such run.
    """
    choice = _read(project.root / EVALUATION, "`dvc repro evaluate`")["choice"]
    for model in read_variant(project, choice["variant"]):
        if model.seed == choice["seed"]:
            return model
    path = BUILT_TRAIN / choice["variant"] / "runs.json"
    raise LenetError(f"{path}: has no run with seed {choice['seed']}; `dvc repro evaluate` chooses again")


def _read(path: Path, remedy: str, owner: Mapping[str, str] | None = None) -> dict[str, Any]:
    try:
        return read_json(path, owner=owner)
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: is missing; {remedy} makes it, `dvc pull` brings it") from error
