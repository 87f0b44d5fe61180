"""A made-up data set in IDX files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import yaml

from lenet.config.data_sources import FileConfig, FolderConfig, MirrorConfig, OriginConfig, PipConfig
from lenet.core.atomic_io import sha256_bytes
from lenet.data.idx import to_idx

CLASSES = 4
NAMED = [f"class {number}" for number in range(CLASSES)]
TRAIN_IMAGES, TEST_IMAGES = 120, 40
NAMES = {
    "train_images": "tiny-train-images",
    "train_labels": "tiny-train-labels",
    "test_images": "tiny-test-images",
    "test_labels": "tiny-test-labels",
}

Source = MirrorConfig | PipConfig | FolderConfig


class Tiny:
    """A made-up data set.

    Attributes:
        files: content of its four IDX files by name.
    """

    def __init__(self, side: int = 28) -> None:
        draw = np.random.default_rng(7)
        arrays = {
            "train_images": draw.integers(0, 256, (TRAIN_IMAGES, side, side), dtype=np.uint8),
            "train_labels": draw.integers(0, CLASSES, TRAIN_IMAGES, dtype=np.uint8),
            "test_images": draw.integers(0, 256, (TEST_IMAGES, side, side), dtype=np.uint8),
            "test_labels": draw.integers(0, CLASSES, TEST_IMAGES, dtype=np.uint8),
        }
        self.arrays = arrays
        self.files = {NAMES[role]: to_idx(array) for role, array in arrays.items()}

    def origin(self, *sources: Source) -> OriginConfig:
        files = {role: FileConfig(name, sha256_bytes(self.files[name])) for role, name in NAMES.items()}
        return OriginConfig(**files, sources=sources)

    def write(self, folder: Path, *names: str, packed: bool = False) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names or self.files:
            content = self.files[name]
            (folder / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(content) if packed else content)
        return folder

    def write_config(self, conf: Path, name: str, *sources: dict[str, str]) -> None:
        files = {role: {"name": file, "sha256": sha256_bytes(self.files[file])} for role, file in NAMES.items()}
        body = {
            "name": name,
            "channels": 1,
            "height": 28,
            "width": 28,
            "classes": NAMED,
            "train_size": None,
            "validation_size": 20,
        }
        (conf / "data").mkdir(parents=True, exist_ok=True)
        (conf / "data" / f"{name}.yaml").write_text(
            yaml.safe_dump({**body, "origin": {**files, "sources": [*sources]}})
        )
