"""Where a version's network comes from, sealed in its model folder: tags of a registry can be set by anybody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lenet.core.atomic_io import read_json, write_json
from lenet.core.errors import DamagedError

PROVENANCE_FILE = "provenance.json"
"""The file of a model folder that says again what its version's tags said when it was registered."""

MODEL_ID_TAG = "lenet.model_id"
"""Tag of a registered version: the logged model that it is, whose files lie where the store keeps that model's."""

SEALED_TAGS = ("lenet.fingerprint", "lenet.data_digest", "lenet.git_commit", MODEL_ID_TAG)


def write_provenance(folder: Path, tags: Mapping[str, str]) -> None:
    """Write the file into a folder that is about to be sealed, with those tags that are given."""
    write_json(folder / PROVENANCE_FILE, {name: tags[name] for name in SEALED_TAGS if name in tags})


def check_provenance(
    folder: Path, manifest: Mapping[str, str], tags: Mapping[str, str], label: str, remedy: str
) -> None:
    """Compare a version's tags with the file in its folder.

    Args:
        folder: the model folder, its files already compared with their manifest.
        manifest: what `sealed.check_folder` returned of it.
        tags: the version's.
        label: what people call the version.
        remedy: what to do about it.

    Raises:
        DamagedError: a tag is not what was registered, or the manifest does not list the file.
    """
    if PROVENANCE_FILE not in manifest:
        raise DamagedError(f"{label}: has no {PROVENANCE_FILE}, so this lenet did not register it; {remedy}")
    known = read_json(folder / PROVENANCE_FILE)
    for name in SEALED_TAGS:
        if tags.get(name, "") != known.get(name, ""):
            raise DamagedError(f"{label}: its tag {name} is not what was registered; {remedy}")
