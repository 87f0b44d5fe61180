"""A finished run's pictures, drawn from its folder and from the validation images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lenet.core.errors import DamagedError
from lenet.core.project import Project
from lenet.runs.run_dir import FINISHED, RunDir

PICTURES = ("learning_curves.png", "confusion_matrix.png", "misread_digits.png", "first_layer_filters.png")
FIRST_LAYER = "network.c1.0.weight"


def draw_run(folder: RunDir, project: Project) -> None:
    """Draw into the folder's plots/ what is missing there; a run that is not finished has its curves only.

    Validation pictures need validation images: a run that trains on all digits has none.

    Raises:
        DamagedError: the weights or the validation logits are not a network's of this run.
    """
    state, history = folder.state(), folder.history()
    plots = folder.path / "plots"
    title = folder.identity()["name"]
    if state != FINISHED or not history or all((plots / name).is_file() for name in PICTURES):
        return
    from safetensors.numpy import load_file

    from lenet.evaluation.plots import run as draw

    plots.mkdir(exist_ok=True)
    draw.learning_curves(history, plots / PICTURES[0], title)
    with _damage_told(folder.path / "weights.safetensors") as path:
        filters = load_file(path)[FIRST_LAYER]
    draw.first_layer_filters(filters, plots / PICTURES[3], title)
    predictions = folder.path / "validation.npz"
    if not predictions.is_file():
        return
    from lenet.data.arrays import load_training
    from lenet.data.split import split
    from lenet.evaluation.metrics import confusion
    from lenet.evaluation.plots.misclassified import draw_misclassified

    config = folder.config()
    arrays = load_training(project.prepared(config.data.name))
    _, indices = split(arrays.order, config.data.train_size, config.data.validation_size)
    with _damage_told(predictions), np.load(predictions) as kept:
        logits, labels = kept["logits"], kept["labels"]
        if logits.shape != (len(indices), len(config.data.classes)) or labels.shape != (len(indices),):
            raise ValueError(f"logits of shape {logits.shape}")
    matrix = confusion(logits, labels, len(config.data.classes))
    draw.confusion_matrix(matrix, plots / PICTURES[1], title)
    draw_misclassified(arrays.images[indices], labels, logits, plots / PICTURES[2], title, indices)


@contextmanager
def _damage_told(path: Path) -> Iterator[Path]:
    from safetensors import SafetensorError

    try:
        yield path
    except (SafetensorError, KeyError, ValueError, BadZipFile) as error:
        raise DamagedError(f"{path}: is not what a training writes ({error}); delete the run's folder") from error
