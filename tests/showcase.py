"""A project with finished runs and registered versions of known error, made in a second or two, without a training.

One network learns the tiny set's ten patterns; others are the same network made blind to a class or two, so that on the
hundred test images, ten of each class, the misclassified ones are known beforehand.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load, save

from lenet.config.networks import ModelConfig
from lenet.config.params import Params, read_params
from lenet.config.schema import Config
from lenet.core.atomic_io import sha256_bytes, sha256_file, write_bytes
from lenet.core.project import Project
from lenet.data.arrays import load_training, read_card, training_digest
from lenet.gate.promote import PromotionResult, ensure_champion, promote
from lenet.models.classifier import build_classifier
from lenet.registry.register import register
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import Version
from lenet.runs.fingerprint import fingerprint
from lenet.runs.run_dir import FINISHED, RunDir
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.store import experiment_id, open_store, tracking_uri

MODEL = "classifier"
STEPS, BATCH = 60, 100
GATE = {"margin_points": 25, "confidence": 0.95, "floor_error_percent": 40, "alpha": 0.05, "reference": None}
"""Fit for a hundred images."""


_TAUGHT: dict[tuple[str, ModelConfig], bytes] = {}
"""By the data's digest, for each test has a copy of its own."""


def taught(prepared: Path, config: Config) -> bytes:
    """The weights file of a network that reads all of the tiny set's test images."""
    key = training_digest(prepared), config.model
    if key not in _TAUGHT:
        _TAUGHT[key] = teach(prepared, config)
    return _TAUGHT[key]


def teach(prepared: Path, config: Config) -> bytes:
    card, arrays = read_card(prepared), load_training(prepared)
    torch.manual_seed(1)
    reader = build_classifier(config, card["mean"], card["deviation"])
    optimizer = torch.optim.Adam(reader.network.parameters(), lr=3e-3)
    images, labels = torch.from_numpy(arrays.images), torch.from_numpy(arrays.labels).long()
    for step in range(STEPS):
        batch = torch.arange(step * BATCH, (step + 1) * BATCH) % len(images)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(reader(images[batch]), labels[batch]).backward()
        optimizer.step()
    return save({name: tensor.contiguous() for name, tensor in reader.state_dict().items()})


def blinded(weights: bytes, classes: tuple[int, ...], trace: float) -> bytes:
    """The same weights, but never answering with `classes`; `trace` changes bytes and no answer."""
    state = load(weights)
    (name,) = [name for name, tensor in state.items() if name.endswith("bias") and tensor.shape == (10,)]
    state[name] = state[name] + trace
    for number in classes:
        state[name][number] -= 1000.0
    return save(state)


@dataclass(frozen=True)
class Showcase:
    """A project whose runs and versions one makes by what they cannot read."""

    project: Project
    config: Config

    @property
    def params(self) -> Params:
        return read_params(self.project)

    def set_params(self, **change: Any) -> None:
        path = self.project.root / "params.yaml"
        tree = yaml.safe_load(path.read_text()) | {"data": "tiny", "register": {"model": MODEL}}
        tree["gate"] = GATE | change
        path.write_text(yaml.safe_dump(tree))

    def run(self, *blind: int, trace: float = 0.0) -> RunDir:
        """A finished run that misreads the ten images of each class in `blind`, and no other."""
        prepared = self.project.prepared("tiny")
        name = f"blind to {blind} trace={trace:g}"
        digests = {"data_digest": training_digest(prepared), "code_digest": sha256_bytes(name.encode())}
        folder = RunDir(self.project.runs / fingerprint(self.config, *digests.values()))
        write_bytes(folder.path / "weights.safetensors", blinded(taught(prepared, self.config), blind, trace))
        identity = {"name": name, "config": self.config.tree(), "overrides": [], "sweeps": []}
        folder.write_identity(identity | digests)
        attempt = {"started": time.time(), "ended": time.time(), "git": {"commit": "c0ffee", "dirty": False}}
        attempt |= {"device": "cpu", "host": "house", "user": "somebody", "versions": {}}
        files = {"weights.safetensors": sha256_file(folder.path / "weights.safetensors")}
        status = {"state": FINISHED, "message": "", "attempts": [attempt], "files": files}
        folder.write("status.json", status)
        return folder

    def retrained(self, *blind: int) -> RunDir:
        """The run of `run(*blind)` as another processor trains it: the same fingerprint, other last bits."""
        folder, other = self.run(*blind), self.run(*blind, trace=1e-3)
        path, status = folder.path / "weights.safetensors", folder.status()
        write_bytes(path, (other.path / "weights.safetensors").read_bytes())
        folder.write("status.json", status | {"files": {"weights.safetensors": sha256_file(path)}})
        return folder

    def register(self, *blind: int, trace: float = 0.0, model: str = MODEL) -> Version:
        """Register such a run; the model beside its weights is not one that mlflow could load."""
        return self.register_run(self.run(*blind, trace=trace), model)

    def register_run(self, folder: RunDir, model: str = MODEL) -> Version:
        uri = tracking_uri(self.project)
        client = open_store(self.project, uri)
        experiment = experiment_id(client, uri, "lenet5")
        made = client.create_run(experiment, run_name=folder.identity()["name"])
        place = MlflowRunRef(uri, experiment, made.info.run_id)
        with RegisteredModel(self.project, model, uri) as registry:
            return register(registry, place, folder, fill_lightly, {"lenet.test_error": "0.00"})[0]


def fill_lightly(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "data" / "model.pt2").write_bytes(b"not to be loaded")


def aliases(showcase: Showcase) -> dict[str, str]:
    with RegisteredModel(showcase.project, MODEL) as registry:
        return {alias: version.number for version in registry.versions for alias in version.aliases}


def tags(showcase: Showcase, number: str) -> dict[str, str]:
    with RegisteredModel(showcase.project, MODEL) as registry:
        return dict(registry.find_version(number).tags)


def promote_challenger(showcase: Showcase, name: str | None = None, reason: str | None = None) -> PromotionResult:
    return promote(showcase.project, showcase.params, name, reason)


def first_champion(showcase: Showcase, number: str) -> PromotionResult:
    result = ensure_champion(showcase.project, showcase.params, number, tracking_uri(showcase.project))
    assert result is not None
    return result


def make_champion(showcase: Showcase, *blind: int) -> None:
    """Register a first champion."""
    assert first_champion(showcase, showcase.register(*blind).number).done


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def files(showcase: Showcase, number: str) -> Path:
    """Return the folder with a version's files."""
    with RegisteredModel(showcase.project, MODEL) as registry:
        found = registry.find_version(number).local_folder
    assert found is not None
    return found
