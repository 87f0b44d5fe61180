"""DVC's cache, hashed again: DVC trusts a file's mode and never looks at what it holds."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
from pathlib import Path

from lenet.core.atomic_io import CHUNK_BYTES
from lenet.core.project import Project
from lenet.doctor.finding import Finding, counted, few, ok, problem

FOLDER = Path(".dvc")
FILES = Path("files/md5")
NAME = re.compile(r"(?P<rest>[0-9a-f]{30})(\.dir)?")
GLOBAL = Path("dvc/config")
MEBIBYTE = 1 << 20
MANY = 10
"""More damaged files than this are no accident."""


def check_cache(project: Project) -> list[Finding]:
    """Hash every file of DVC's cache, whose names are the md5 of what they hold."""
    folder = cache_folder(project)
    files = [path for path in sorted((folder / FILES).glob("??/*")) if NAME.fullmatch(path.name)]
    damaged = [path for path in files if _md5(path) != path.parent.name + path.name.removesuffix(".dir")]
    if damaged:
        text = f"{counted(len(damaged), 'file')} of DVC's cache damaged: {few(_short(path) for path in damaged)}"
        return [problem(text, _remedy(folder, damaged))]
    size = sum(path.stat().st_size for path in files) / MEBIBYTE
    return [ok(f"{counted(len(files), 'file')} of DVC's cache, {size:,.0f} MiB, hashed again and right")]


def _remedy(folder: Path, damaged: list[Path]) -> str:
    anew = "then `dvc pull` where there is a remote, otherwise `dvc repro` makes them anew"
    if len(damaged) > MANY:
        return f"the disk may be failing: save what you cannot make again, then rm -rf {folder / FILES}, {anew}"
    return f"rm -f {' '.join(str(path) for path in damaged)}; {anew}"


def cache_folder(project: Project) -> Path:
    """Return the folder of DVC's cache: the one that its configuration names, or .dvc/cache."""
    found = project.root / FOLDER / "cache"
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for path in (user / GLOBAL, project.root / FOLDER / "config", project.root / FOLDER / "config.local"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(path, encoding="utf-8")
            named = parser.get("cache", "dir", fallback=None)
        except (configparser.Error, UnicodeDecodeError):
            continue  # DVC itself says what is wrong with it
        if named:
            found = (
                path.parent / Path(named.strip("'\"")).expanduser()
            )  # a relative one is taken from the file's folder
    return found


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name[:10]}…"
