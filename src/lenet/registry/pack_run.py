"""What goes into the registry: a run's network as MLflow serves it, and what its run shows of the export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from lenet.core.atomic_io import read_json, sha256_file
from lenet.core.errors import DamagedError
from lenet.core.paths import BUILT_EXPORT, EXPORT
from lenet.core.project import Project
from lenet.evaluation.trained_model import from_run
from lenet.export.export_model import export_checked, export_metrics, onnx_metadata
from lenet.runs.run_dir import RunDir
from lenet.tracking.run_ref import MlflowRunRef
from lenet.tracking.store import open_store


def pack_version(project: Project, folder: RunDir, packed: Path) -> None:
    """Write what a registered version holds: the ONNX model that is served, and torch's own in a folder within it.

    The file of the export stage is taken where it is this run's; otherwise the network is exported and checked anew.

    Args:
        project: where things are.
        folder: the finished run.
        packed: the version's folder, which is made.

    Raises:
        DamagedError: the run's folder is damaged.
        LenetError: onnxruntime reads the network otherwise than torch.
    """
    from lenet.registry.packaging import pack_both

    trained = from_run(folder)
    reader = trained.load()
    with tempfile.TemporaryDirectory() as temporary:
        path = project.root / BUILT_EXPORT
        known = _exported(project, folder)
        if known is None or not path.is_file() or sha256_file(path) != known["onnx_sha256"]:
            path = Path(temporary) / BUILT_EXPORT.name
            export_checked(project, trained, reader, path)
        pack_both(path, reader, trained.config.data.classes, packed)


def log_export(project: Project, place: MlflowRunRef, folder: RunDir) -> None:
    """Have MLflow show with the run what its exported network weighs and takes, where the export stage measured it.

    Raises:
        MlflowException, OSError: the store is away or refuses.
    """
    from lenet.registry.packaging import log_measures

    known = _exported(project, folder)
    if known is not None:
        log_measures(open_store(project, place.uri), place.run_id, export_metrics(known))


def _exported(project: Project, folder: RunDir) -> dict[str, Any] | None:
    """Return what the export stage wrote, where it was about this run."""
    try:
        known = read_json(project.root / EXPORT)
        return known if known["metadata"] == onnx_metadata(project, from_run(folder)) else None
    except (FileNotFoundError, DamagedError):
        return None
