"""A house in which all is well: trained runs, MLflow's store and registry, a search, DVC's cache; all of it real."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from lenet.config.compose import compose
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store import open_store, tracking_uri

REPOSITORY = Path(__file__).parents[2]
WORDS = ("experiment=lenet5", "data=tiny", "trainer=cpu", "trainer.epochs=1", "trainer.threads=1")
SEEDS = (1, 2)
SECONDS = 60
MODEL = "digits"


@dataclass(frozen=True)
class House:
    """A project whose first run is registered, and a copy of it as it was built."""

    project: Project
    kept: Path

    @property
    def root(self) -> Path:
        return self.project.root

    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def runs(self) -> list[RunDir]:
        """The runs by seed."""
        folders = [RunDir(path) for path in self.project.runs.iterdir() if len(path.name) == 64]
        return sorted(folders, key=lambda folder: folder.config().seed)


def build(project: Project, tiny_data: Path) -> None:
    shutil.copytree(REPOSITORY / "conf", project.conf)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(REPOSITORY / name, project.root / name)
    shutil.copytree(tiny_data / "data", project.root / "data")
    shutil.copyfile(tiny_data / "conf" / "data" / "tiny.yaml", project.conf / "data" / "tiny.yaml")
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params |= {"data": "tiny", "register": {"model": MODEL}}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    pins = (f"{name}=={version(name).partition('+')[0]}" for name in ("numpy", "torch", "mlflow"))
    (project.root / "constraints.txt").write_text("\n".join(pins) + "\n")
    digest = training_digest(project.prepared("tiny"))
    projection = RunSync(project, tracking_uri(project), "lenet5")
    for seed in SEEDS:
        words = (*WORDS, f"seed={seed}")
        origin = RunMetadata(f"lenet5 seed={seed}", None, words)
        projection.send(get_or_train(project, compose(project, words), digest, origin, ignore, ignore).folder)


def register(project: Project) -> None:
    """Register the run of the first seed and make it the champion."""
    from lenet.evaluation.predict import load_reader
    from lenet.registry import mlflow_registry as registry
    from lenet.tracking.run_ref import recorded_run_ref

    folder = min((RunDir(path) for path in project.runs.iterdir() if len(path.name) == 64), key=_seed)
    uri = tracking_uri(project)
    place, _ = recorded_run_ref(folder, uri)
    assert place is not None
    config, weights = folder.config(), folder.status()["files"]["weights.safetensors"]
    reader = load_reader(config, folder.path / "weights.safetensors", weights)
    tags = {"lenet.fingerprint": folder.fingerprint, "lenet.data_digest": folder.identity()["data_digest"]}
    made = registry.register(project, place, folder, lambda into: registry.pack(reader, 10, into), MODEL, tags)
    open_store(project, uri).set_registered_model_alias(MODEL, "champion", made.number)


def lenet(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command: in a process of its own, for mlflow keeps in a process what it once opened."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LENET_", "MLFLOW_"))}
    command = [sys.executable, "-m", "lenet", *words]
    return subprocess.run(
        command, cwd=root, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def ignore(_: object) -> None:
    """Take what nobody wants to hear."""


def _seed(folder: RunDir) -> int:
    return folder.config().seed


def search(project: Project) -> None:
    """Leave a study in Optuna's database, and the folder of a search that MLflow shows."""
    import optuna

    from lenet.core.atomic_io import write_json
    from lenet.search.storage import open_storage, study_url

    storage = open_storage(project, study_url(project, None))
    study = optuna.create_study(storage=storage.database, study_name="tiny-0123")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.database.engine.dispose()
    body = {"study": "tiny-0123", "tracking": {"uri": None, "experiment": "lenet5"}}
    body |= {"objectives": ["val/error"], "sampler": "random", "pruner": "none", "epochs": 1, "space": {}}
    folder = project.home / "searches" / "tiny-0123"
    write_json(folder / "search.json", body)
    RunSync(project, tracking_uri(project), "lenet5").send_search(folder)


def keep_in_dvc(root: Path) -> None:
    (root / "kept").mkdir()
    for number in range(3):
        (root / "kept" / f"{number}.bin").write_bytes(bytes([number]) * 1000)
    for words in (["init", "--no-scm", "-q"], ["add", "-q", "kept"]):
        subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, check=True, capture_output=True)
