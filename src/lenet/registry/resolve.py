"""A trained network by the name that a user types: a run's fingerprint, or a registered version."""

from __future__ import annotations

import re
from collections.abc import Callable

from lenet.core.errors import DamagedError, LenetError
from lenet.evaluation.trained_model import TrainedModel, from_run
from lenet.registry.registered_model import RegisteredModel
from lenet.runs.run_dir import SHORT, all_runs, find_run

VERSION_DIGITS = 3
"""A number of so many digits or fewer is a version; of more, the start of a fingerprint."""

_START = re.compile(r"[0-9a-f]+")
_VERSION = re.compile(rf"(?P<model>[^/@:]+)?(@\w+|/\d+)|\d{{1,{VERSION_DIGITS}}}")


def find_network(shelf: RegisteredModel, name: str, tell: Callable[[str], None]) -> TrainedModel:
    """Return the network that a name means, after checking where it comes from.

    Args:
        shelf: the project's registered model, for versions that are named without one.
        name: `3`, `@champion`, `lenet5/3`, `lenet5@champion`, or the start of a fingerprint, of a run or a version.
        tell: takes a line for the user.

    Raises:
        LenetError: there is no such network, or it is not what it was.
    """
    own = shelf_of(shelf, name)
    if own is not None:
        return own.network(own.find(name), tell)
    if _START.fullmatch(name) is None:
        raise LenetError(f"{name}: name a run by its fingerprint's start, or a version as 3, @champion, lenet5/3")
    if any(folder.fingerprint.startswith(name) for folder in all_runs(shelf.project)):
        return from_run(find_run(shelf.project, name))
    return _registered_run(shelf, name, tell)


def is_there(shelf: RegisteredModel, name: str) -> bool:
    """Say whether a name means a network here; also of one that means none anywhere, which `find_network` refuses."""
    own = shelf_of(shelf, name)
    if own is not None:
        return own.named(name) is not None
    known = [*(folder.fingerprint for folder in all_runs(shelf.project)), *(one.fingerprint for one in shelf.versions)]
    return _START.fullmatch(name) is None or any(fingerprint.startswith(name) for fingerprint in known)


def shelf_of(shelf: RegisteredModel, name: str) -> RegisteredModel | None:
    """Return the registered model whose version a name means, or None where it is no version's."""
    match = _VERSION.fullmatch(name)
    if match is None:
        return None
    model = match["model"]
    return shelf if model is None or model == shelf.model else shelf.other(model)


def _registered_run(shelf: RegisteredModel, start: str, tell: Callable[[str], None]) -> TrainedModel:
    """Return the network of a run that has no folder here, as it was registered first and is whole."""
    found = [one for one in shelf.versions if one.fingerprint.startswith(start)]
    if not found:
        raise LenetError(
            f"{start}: no run's fingerprint begins so, nor that of a version of {shelf.model};"
            " `lenet runs` and `lenet registry` list them"
        )
    runs = sorted({one.fingerprint[:SHORT] for one in found})
    if len(runs) > 1:
        raise LenetError(f"{start}: {len(runs)} registered runs' fingerprints begin so ({', '.join(runs)})")
    for version in found[:-1]:
        try:
            return shelf.network(version, tell)
        except DamagedError as error:  # its bytes may have been registered again
            tell(str(error))
    return shelf.network(found[-1], tell)
