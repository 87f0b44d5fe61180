"""A sound project with runs, MLflow's store and registry, a search and DVC's cache, and ways to damage it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from lenet.config.compose import compose
from lenet.core.project import Project
from lenet.data.arrays import training_digest
from lenet.doctor.finding import Finding, Level
from lenet.runs.get_or_train import RunMetadata, get_or_train
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_sync import RunSync
from lenet.tracking.store import open_store, tracking_uri

REPOSITORY = Path(__file__).parents[2]
VARIABLES = ("LENET_HOME", "MLFLOW_TRACKING_URI", "DVC_STAGE")
OVERRIDES = ("experiment=lenet5", "data=tiny", "trainer=cpu", "trainer.epochs=1", "trainer.threads=1")
SEEDS = (1, 2)
SECONDS = 60
MODEL = "classifier"
STUDY = "tiny-0123"


@dataclass(frozen=True)
class Sample:
    """A project whose first run is registered."""

    project: Project

    @property
    def root(self) -> Path:
        return self.project.root

    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def runs(self) -> list[RunDir]:
        """The runs by seed."""
        runs = [RunDir(path) for path in self.project.runs.iterdir() if len(path.name) == 64]
        return sorted(runs, key=lambda run: run.config().seed)


def fill(project: Project, tiny_data: Path) -> None:
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
    sync = RunSync(project, tracking_uri(project), "lenet5")
    for seed in SEEDS:
        overrides = (*OVERRIDES, f"seed={seed}")
        metadata = RunMetadata(f"lenet5 seed={seed}", None, overrides)
        config = compose(project, (*overrides, "tracking.experiment=lenet5"))
        run = get_or_train(project, config, digest, metadata).run_dir
        sync.send(run)
    register(project)
    search(project)
    fill_dvc_cache(project.root)


def register(project: Project) -> None:
    """Register the run of the first seed and make it the champion."""
    from lenet.evaluation.trained_model import from_run
    from lenet.registry.packaging import pack_torch
    from lenet.registry.register import register as register_run
    from lenet.registry.registered_model import RegisteredModel

    run, uri = Sample(project).runs[0], tracking_uri(project)
    ref, network = RunSync(project, uri, "lenet5").send(run), from_run(run).load()
    with RegisteredModel(project, MODEL, uri) as model:
        made, _ = register_run(model, ref, run, lambda into: pack_torch(network, 10, into), {})
    open_store(project, uri).set_registered_model_alias(MODEL, "champion", made.number)


def search(project: Project) -> None:
    """Leave a study in Optuna's database, and the directory of a search that MLflow shows."""
    import optuna

    from lenet.core.atomic_io import write_json
    from lenet.search.storage import open_storage, study_url

    storage = open_storage(project, study_url(project, None))
    study = optuna.create_study(storage=storage.database, study_name=STUDY)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.database.engine.dispose()
    body = {"study": STUDY, "tracking": {"uri": None, "experiment": "lenet5"}}
    body |= {"objectives": ["val/error"], "sampler": "random", "pruner": "none", "epochs": 1, "space": {}}
    write_json(project.home / "searches" / STUDY / "search.json", body)
    RunSync(project, tracking_uri(project), "lenet5").send_search(project.home / "searches" / STUDY)


def fill_dvc_cache(root: Path) -> None:
    (root / "kept").mkdir()
    for number in range(3):
        (root / "kept" / f"{number}.bin").write_bytes(bytes([number]) * 1000)
    for words in (["init", "--no-scm", "-q"], ["add", "-q", "kept"]):
        assert dvc(root, *words).returncode == 0


def dvc(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=root, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def lenet(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, for mlflow keeps connections to files it opened."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LENET_", "MLFLOW_"))}
    command = [sys.executable, "-m", "lenet", *words]
    return subprocess.run(
        command, cwd=root, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def ignore(_: object) -> None:
    pass


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, whatever its mode."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(bytes(content))


def change(database: Path, statement: str, *values: object) -> None:
    """Change rows of an SQLite file without MLflow."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement, values)


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]
