"""DVC's cache: DVC trusts a file's mode (0444) and does not see a changed byte, so each file is hashed again."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.doctor.finding import Finding, count, join_names, ok, problem

FILES = Path("files/md5")
NAME = re.compile(r"[0-9a-f]{30}(\.dir)?")
MEBIBYTE = 1 << 20
MANY = 10
"""More damaged files than this are hardly an accident."""


def check_cache(project: Project) -> list[Finding]:
    """Hash every file of DVC's cache; its name is the md5 of its content."""
    if not (project.root / ".dvc").is_dir():
        return [ok("DVC is not initialized here")]
    folder = cache_folder(project) / FILES
    files = [path for path in sorted(folder.glob("??/*")) if NAME.fullmatch(path.name)]
    damaged = [path for path in files if _md5(path) != path.parent.name + path.name.removesuffix(".dir")]
    if not damaged:
        size = sum(path.stat().st_size for path in files) / MEBIBYTE
        return [ok(f"{count(len(files), 'file')}, {size:,.0f} MiB, each with the md5 of its name")]
    names = join_names(f"{path.parent.name}/{path.name[:10]}…" for path in damaged)
    remedy = f"rm -f {' '.join(map(str, damaged))}"
    if len(damaged) > MANY:
        remedy = f"the disk may be failing: save what cannot be made again, then rm -rf {folder}"
    remedy += "; then `dvc pull` where there is a remote, otherwise `dvc repro`"
    return [problem(f"{count(len(damaged), 'file')} with another md5: {names}", remedy)]


def cache_folder(project: Project) -> Path:
    """Return the folder of DVC's cache, as DVC resolves its configuration files.

    Raises:
        LenetError: DVC cannot read them.
    """
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"], cwd=project.root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LenetError(done.stderr.strip().partition("\n")[0])
    return project.root / done.stdout.strip()


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
