"""The manifest of a registered version: the sha256 of each file in its folder, and the tags that name its origin.

The registry stores the manifest's digest as a tag, so a changed byte is found before anything of a version is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lenet.core.atomic_io import canonical_json, check_digest, read_json, sha256_bytes, sha256_file, write_json
from lenet.core.errors import DamagedError

MANIFEST = "manifest.json"
MODEL_TAG = "lenet.model_sha256"
"""Tag of a registered version: the digest of its manifest."""

MODEL_ID_TAG = "lenet.model_id"
"""Tag of a registered version: the id of its MLflow logged model."""

PROVENANCE_TAGS = ("lenet.fingerprint", "lenet.data_digest", "lenet.git_commit", MODEL_ID_TAG)
"""Tags that the manifest repeats: anybody can set a registry's tags."""

SHAPE = {"files": {str: str}, "provenance": {str: str}}


def write_manifest(folder: Path, tags: Mapping[str, str]) -> str:
    """Write the manifest of a version's folder, with its tags, and return its digest (64 hexadecimal digits)."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}
    body = {"files": files, "provenance": {name: tags.get(name, "") for name in PROVENANCE_TAGS}}
    write_json(folder / MANIFEST, body)
    return _digest(body)


def verify_manifest(folder: Path, tags: Mapping[str, str], remedy: str) -> dict[str, str]:
    """Compare a version's folder and tags with its manifest; return the sha256 of each file by its name.

    Files that the manifest does not list are ignored: no listed file refers to them.

    Raises:
        DamagedError: a file or a tag is missing or differs, the manifest included; the message ends with `remedy`.
    """
    path = folder / MANIFEST
    try:
        body = read_json(path, SHAPE)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError(f"{path}: is missing; {remedy}") from error
    except DamagedError as error:
        raise DamagedError(f"{path}: is not what was registered; {remedy}") from error
    if _digest(body) != tags.get(MODEL_TAG):
        raise DamagedError(f"{path}: is not what was registered; {remedy}")
    files: dict[str, str] = body["files"]
    for name, expected in files.items():
        check_digest(folder / name, expected, remedy)
    for name in PROVENANCE_TAGS:
        if tags.get(name, "") != body["provenance"].get(name, ""):
            raise DamagedError(f"{path}: tag {name} is not what was registered; {remedy}")
    return files


def _digest(body: Mapping[str, Any]) -> str:
    return sha256_bytes(canonical_json(body).encode())
