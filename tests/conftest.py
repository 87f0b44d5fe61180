"""A tiny project in a temporary folder: this project's conf/, params.yaml and dvc.yaml, and a made-up data set."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import sha256_bytes
from lenet.core.project import Project
from lenet.data.datasets import load_data_config
from lenet.data.idx import to_idx
from lenet.data.prepare import prepare
from lenet.kernels.library import Kernel, load_kernel

if TYPE_CHECKING:
    from showcase import Showcase

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every process that a test starts and then ends with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parents[1]
CLASSES, TRAIN, VALIDATION, TEST = 10, 500, 200, 100
VARIABLES = (
    "DVC_EXP_NAME",
    "DVC_STAGE",
    "LENET_HOME",
    "LENET_STUDY_STORAGE",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_TRACKING_URI",
)

TREE: dict[str, Any] = {
    "name": "tiny_variant",
    "seed": 1,
    "data": {
        "name": "tiny",
        "channels": 1,
        "height": 28,
        "width": 28,
        "classes": [f"pattern {number}" for number in range(CLASSES)],
        "train_size": TRAIN,
        "validation_size": VALIDATION,
    },
    "model": {
        "name": "lenet5",
        "activation": "tanh",
        "pooling": "average",
        "normalization": "none",
        "initialization": "xavier",
    },
    "augmentation": {"name": "shift", "shift": 1},
    "optimizer": {
        "name": "adam",
        "learning_rate": 0.003,
        "beta1": 0.9,
        "beta2": 0.99,
        "weight_decay": 0.0,
        "label_smoothing": 0.05,
        "schedule": {"name": "one_cycle", "warmup_fraction": 0.2, "final_fraction": 0.01},
    },
    "trainer": {
        "epochs": 2,
        "batch_size": 50,
        "accumulate": 1,
        "gradient_clip": None,
        "early_stopping": {"patience": None, "min_delta": 0.0},
        "max_batches": None,
        "precision": "fp32",
        "devices": 1,
        "accelerator": "cpu",
        "strategy": "auto",
        "kernel": "fused" if isinstance(load_kernel(), Kernel) else "torch",
        "cuda_graphs": True,
        "threads": 1,  # more would wait for each other where the machine is busy
        "checkpoint_seconds": 0.0,
        "progress": False,
    },
    "tracking": {"uri": None, "experiment": "lenet5"},
}


def changed(tree: dict[str, Any], **knobs: Any) -> dict[str, Any]:
    """Return a copy of `tree` with knobs set; a dot in a knob's name is written as two underscores."""
    tree = copy.deepcopy(tree)
    for name, value in knobs.items():
        *groups, last = name.split("__")
        inner = tree
        for group in groups:
            inner = inner[group]
        inner[last] = value
    return tree


def pictures(count: int, draw: np.random.Generator, templates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    noise = draw.integers(0, 120, (count, 28, 28))
    return np.clip(templates[labels] * 135 + noise, 0, 255).astype(np.uint8), labels


@pytest.fixture
def make_tree() -> Callable[..., dict[str, Any]]:
    """Return the plain tree of the tiny run's config, with knobs set as in `optimizer__learning_rate=0.1`."""
    return lambda **knobs: changed(TREE, **knobs)


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """Return the tiny run's config, with knobs set as in `optimizer__learning_rate=0.1`."""
    return lambda **knobs: parse_config(changed(TREE, **knobs))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with conf/data/tiny.yaml, raw IDX files and the prepared set: ten noisy patterns to tell apart."""
    root = tmp_path_factory.mktemp("tiny")
    draw = np.random.default_rng(5)
    templates = np.kron(draw.integers(0, 2, (CLASSES, 7, 7)), np.ones((4, 4), dtype=np.int64))
    files: dict[str, bytes] = {}
    for part, count in (("train", TRAIN + VALIDATION), ("test", TEST)):
        images, labels = pictures(count, draw, templates)
        files |= {f"{part}_images": to_idx(images), f"{part}_labels": to_idx(labels)}
    raw = root / "data" / "raw" / "tiny"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / name).write_bytes(content)
    origin: dict[str, Any] = {role: {"name": role, "sha256": sha256_bytes(body)} for role, body in files.items()}
    origin["sources"] = [{"name": "folder", "path": str(raw)}]
    body = TREE["data"] | {"origin": origin}
    (root / "conf" / "data").mkdir(parents=True)
    (root / "conf" / "data" / "tiny.yaml").write_text(yaml.safe_dump(body, sort_keys=False))
    prepare(load_data_config(root / "conf", "tiny"), raw, root / "data" / "prepared" / "tiny")
    return root


@pytest.fixture
def prepared(tiny_data: Path) -> Path:
    """The prepared tiny data set; nobody writes there."""
    return tiny_data / "data" / "prepared" / "tiny"


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away what of the user's environment would change where things are, and what a test leaves there."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is taken back at the end, even if a test sets it itself
        monkeypatch.delenv(name)
    yield
    for name in VARIABLES:
        os.environ.pop(name, None)


@pytest.fixture
def project(tmp_path: Path, tiny_data: Path, clean_environment: None) -> Project:
    """A whole project in a temporary folder, with its own home."""
    root = tmp_path / "project"
    shutil.copytree(REPOSITORY / "conf", root / "conf")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(REPOSITORY / name, root / name)
    shutil.copytree(tiny_data / "data", root / "data")
    shutil.copyfile(tiny_data / "conf" / "data" / "tiny.yaml", root / "conf" / "data" / "tiny.yaml")
    return Project(root=root, home=root)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs, to be copied: making one takes seconds."""
    from lenet.tracking.store import open_store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_store(Project(path.parent, path.parent), f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")  # the file alone is whole
    return path


@pytest.fixture
def showcase(project: Project, make_config: Callable[..., Config], empty_store: Path) -> Showcase:
    """The tiny project with a registry that one fills with versions of known merit."""
    from showcase import Showcase

    shutil.copyfile(empty_store, project.home / "mlflow.db")
    made = Showcase(project, make_config())
    made.set_params()
    return made


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Pass log messages on to pytest's handlers, and take back what a command configured for its process."""
    root = logging.getLogger("lenet")
    root.setLevel(logging.INFO)
    yield
    root.handlers.clear()
    root.propagate = True


@pytest.fixture
def said(fresh_logging: None) -> list[str]:
    """The log messages of the test, one entry each."""

    class ListHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    lines: list[str] = []
    logging.getLogger("lenet").addHandler(ListHandler())
    return lines


LONGEST = ("test_repro.py", "test_promote.py", "test_interrupted.py", "test_ui.py", "test_train.py", "test_sweeper.py")
"""Of those that type whole commands: begun first, in this order, so that two processes end at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the fast tests first: what types whole commands comes last."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ("e2e" in item.path.parts, places.get(item.path.name, len(LONGEST))))
