"""A version's model folder, sealed: a changed byte in it is noticed before anything of it is loaded."""

from __future__ import annotations

from pathlib import Path

from lenet.core.atomic_io import canonical_json, check_digest, read_json, sha256_bytes, sha256_file, write_json
from lenet.core.errors import DamagedError

MANIFEST = "manifest.json"
"""The file of a model folder that lists the sha256 of every other."""

MODEL_TAG = "lenet.model_sha256"
"""Tag of a registered version: the digest of its manifest."""


def write_manifest(folder: Path) -> str:
    """Write the manifest of all files in a folder, and return its digest, 64 hexadecimal digits."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    manifest = {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
    write_json(folder / MANIFEST, {"files": manifest})
    return _digest(manifest)


def verify_manifest(folder: Path, digest: str, remedy: str) -> dict[str, str]:
    """Compare a folder with the digest of its manifest, and return the sha256 of each of its files by name.

    Files that the manifest does not list are nobody's: nothing that is listed refers to them.

    Raises:
        DamagedError: a file is missing or differs, the manifest included; the message ends with `remedy`.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, str] = read_json(path)["files"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError(f"{path}: is missing; {remedy}") from error
    except (DamagedError, KeyError) as error:
        raise DamagedError(f"{path}: is not what was registered; {remedy}") from error
    if _digest(manifest) != digest:
        raise DamagedError(f"{path}: is not what was registered; {remedy}")
    for name, expected in manifest.items():
        check_digest(folder / name, expected, remedy)
    return manifest


def _digest(manifest: dict[str, str]) -> str:
    return sha256_bytes(canonical_json(manifest).encode())
