"""A trained network by the name that a user types: a run's fingerprint, or a registered version."""

from __future__ import annotations

import re
from collections.abc import Callable

from lenet.errors import LenetError
from lenet.evaluation.rescoring import TrainedNetwork
from lenet.runs import find_run
from lenet.shelf import Shelf, run_network

VERSION_DIGITS = 3
"""A number of so many digits or fewer is a version; of more, the start of a fingerprint."""

_VERSION = re.compile(rf"(?P<model>[^/@:]+)?(@\w+|/\d+)|\d{{1,{VERSION_DIGITS}}}")


def find_network(shelf: Shelf, name: str, tell: Callable[[str], None]) -> TrainedNetwork:
    """Return the network that a name means, after checking where it comes from.

    Args:
        shelf: the project's registered model, for versions that are named without one.
        name: `3`, `@champion`, `lenet5/3`, `lenet5@champion`, or the start of a run's fingerprint.
        tell: takes a line for the user.

    Raises:
        LenetError: there is no such network, or it is not what it was.
    """
    match = _VERSION.fullmatch(name)
    if match is None:
        if re.fullmatch(r"[0-9a-f]+", name) is None:
            raise LenetError(f"{name}: name a run by its fingerprint's start, or a version as 3, @champion, lenet5/3")
        return run_network(find_run(shelf.project, name))
    model = match["model"]
    if model is not None and model != shelf.model:
        shelf = shelf.other(model)
    return shelf.network(shelf.find(name), tell)
