"""Graphics cards that are there, and a torch that cannot use them."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lenet.core.project import Project
from lenet.doctor.finding import Finding, counted, ok, warning

DEVICES = Path("/dev")
NVIDIA = re.compile(r"nvidia[0-9]+")
WINDOWS = "dxg"
"""What the Windows Subsystem for Linux calls its graphics card."""

BUILD = re.compile(r"^cuda\b[^=]*=\s*(?:None|'(?P<version>[^']*)')", re.MULTILINE)


def check_graphics(project: Project) -> list[Finding]:
    """Compare the NVIDIA devices of this machine with what torch was built for, without importing it."""
    count = _count_devices(DEVICES)
    cuda = _torch_cuda()
    if not count:
        return [ok("no NVIDIA GPU here; training takes the processor")]
    if cuda is None:
        pinned = _torch_version()
        return [
            warning(
                f"{counted(count, 'NVIDIA GPU')} here, but torch {pinned} is built without CUDA",
                f"pip install --force-reinstall torch=={pinned.partition('+')[0]}"
                " (with --index-url https://download.pytorch.org/whl/cu130 where that is a CPU build again)",
            )
        ]
    return [ok(f"{counted(count, 'NVIDIA GPU')}, torch {_torch_version()} is built for CUDA {cuda}")]


def _count_devices(folder: Path) -> int:
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sum(bool(NVIDIA.fullmatch(name)) for name in names) or int(WINDOWS in names)


def _torch_cuda() -> str | None:
    """Return the CUDA version that torch is built for; its importing takes seconds, its version.py says it too."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    try:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = BUILD.search(text)
    return match["version"] if match else None


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return "(not installed)"
