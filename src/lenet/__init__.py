"""LeNet Lab: experiment tracking around LeNet-5 in which a run has one identity."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lenet.evaluation.loaded_model import LoadedModel

__version__ = "0.1.0"


def load(name: str, project: Path | None = None) -> LoadedModel:
    """Load a trained network, for a notebook or a script.

    >>> model = lenet.load("@champion")
    >>> model.predict(images)

    Args:
        name: a run by the start of its fingerprint, or a registered version: `3`, `@champion`, `lenet5/3`.
        project: a folder inside the project; default: the working folder.

    Raises:
        LenetError: there is no project, no such network, or its files are not those on record.
    """
    from lenet.config.params import read_params
    from lenet.core.project import find_project
    from lenet.evaluation.loaded_model import LoadedModel
    from lenet.registry.registered_model import RegisteredModel

    found = find_project(project)
    with RegisteredModel(found, read_params(found).register.model) as registry:
        model = registry.find_model(name)
        return LoadedModel(model.name, model.config, model.load())
