"""Checkpoints that survive a crash at any point and know when they were damaged.

A checkpoint's name carries its epoch and the start of a sha256 over the run's fingerprint and the content: one rename
publishes content and digest together, and in another run's folder it does not fit its name.
The one before is kept: a damaged newest checkpoint costs an epoch, not the run.
"""

from __future__ import annotations

import io
import logging
import re
import time
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from lenet.core.atomic_io import sha256_bytes, write_bytes
from lenet.core.errors import DamagedError
from lenet.training.lightning import CheckpointIO

logger = logging.getLogger(__name__)

KEPT = 2
DIGEST_LENGTH = 16
"""Hexadecimal digits of the sha256 in the name: enough to see damage."""

NAME = re.compile(rf"epoch-(\d+)-([0-9a-f]{{{DIGEST_LENGTH}}})\.ckpt")


def _numbered(folder: Path) -> list[tuple[int, str, Path]]:
    found = [(NAME.fullmatch(path.name), path) for path in folder.glob("*.ckpt")] if folder.is_dir() else []
    return sorted((int(match[1]), match[2], path) for match, path in found if match)


def _digest(owner: str, content: bytes) -> str:
    return sha256_bytes(owner.encode() + content)[:DIGEST_LENGTH]


def newest_checkpoint(folder: Path, owner: str) -> Path | None:
    """Return the newest checkpoint whose content fits the digest in its name, or None; warn of those that do not.

    Args:
        folder: where the checkpoints live.
        owner: fingerprint of the run.
    """
    for _, digest, path in reversed(_numbered(folder)):
        if _digest(owner, path.read_bytes()) == digest:
            return path
        logger.warning(
            f"{path}: is damaged or another run's, it does not fit the sha256 in its name; resuming from the one before"
        )
    return None


def epochs_kept(folder: Path, owner: str) -> int:
    """Return how many epochs the checkpoint to resume from has behind it; 0 where there is none."""
    fitting = (epoch for epoch, digest, path in _numbered(folder) if _digest(owner, path.read_bytes()) == digest)
    return max(fitting, default=0)


class DurableCheckpoints(CheckpointIO):
    """Lightning's way to a file: every epoch is taken in memory, and written when it is due.

    Args:
        folder: where the checkpoints live.
        seconds: least time between two writes.
        owner: fingerprint of the run.
    """

    def __init__(self, folder: Path, seconds: float, owner: str) -> None:
        self._folder = folder
        self._seconds = seconds
        self._owner = owner
        self._written_at = time.monotonic()
        self._pending: tuple[int, bytes] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Take a checkpoint in memory; `flush` writes it. The path that Lightning gives is not used."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        self._pending = (len(checkpoint["history"]), buffer.getvalue())

    @property
    def is_due(self) -> bool:
        """Say whether enough time has passed since the last write."""
        return time.monotonic() - self._written_at >= self._seconds

    def flush(self) -> None:
        """Write the checkpoint taken last, if it is not written yet, and remove all but the newest two."""
        if self._pending is None:
            return
        epoch, content = self._pending
        write_bytes(self._folder / f"epoch-{epoch:05d}-{_digest(self._owner, content)}.ckpt", content)
        self._pending = None
        self._written_at = time.monotonic()
        for _, _, path in _numbered(self._folder)[:-KEPT]:
            path.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint; only tensors and plain values are admitted, nothing in it can run.

        Raises:
            DamagedError: it holds something else.
        """
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except (UnpicklingError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise DamagedError(f"{path}: is no checkpoint; delete it to go on from the one before") from error
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)
