"""Versions of Python and packages against pyproject.toml and constraints.txt, and GPUs that torch cannot use."""

from __future__ import annotations

import platform
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lenet.core.project import Project
from lenet.doctor.finding import Finding, count, join_names, ok, problem, warning

DEVICES = Path("/dev")
CONSTRAINTS, PYPROJECT = "constraints.txt", "pyproject.toml"
INSTALL = "make install"


def check_versions(project: Project) -> list[Finding]:
    """Compare the installed versions with the required and the pinned ones.

    What pyproject.toml requires and is missing or of another version is a problem; what differs from constraints.txt
    is a warning. Pinned packages that are not installed are none: they belong to extras.
    """
    findings = []
    unmet = _unmet(project.root / PYPROJECT)
    if unmet:
        findings.append(problem(f"{PYPROJECT} requires other versions: {join_names(unmet)}", INSTALL))
    path = project.root / CONSTRAINTS
    if not path.is_file():
        return [*findings, warning(f"{CONSTRAINTS} is missing: no version is pinned", f"git checkout {CONSTRAINTS}")]
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pins = dict(line.split("==", 1) for line in lines if "==" in line)
    installed = {name: found for name in pins if (found := _installed(name)) is not None}
    other = [f"{name} {found} (pinned {pins[name]})" for name, found in installed.items() if found != pins[name]]
    if other and not unmet:
        findings.append(
            warning(f"{count(len(other), 'package')} not as {CONSTRAINTS} pins: {join_names(other)}", INSTALL)
        )
    return findings or [ok(f"Python {platform.python_version()}, {count(len(installed), 'package')} as pinned")]


def _unmet(path: Path) -> list[str]:
    """Return the requirements of pyproject.toml that are not met, extras apart."""
    if not path.is_file():
        return []
    body = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    unmet = []
    if not SpecifierSet(body.get("requires-python", "")).contains(platform.python_version()):
        unmet.append(f"Python {platform.python_version()} is not {body['requires-python']}")
    for requirement in map(Requirement, body["dependencies"]):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        found = _installed(requirement.name)
        if found is None:
            unmet.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(found, prereleases=True):
            unmet.append(f"{requirement.name} {found} is not {requirement.specifier}")
    return unmet


def _installed(name: str) -> str | None:
    """Return a package's version without its local label: `2.13.0+cpu` and `2.13.0+cu130` are one version."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def check_gpu(project: Project) -> list[Finding]:
    """Check that torch can use the NVIDIA GPUs of this machine; where there is none, torch is not imported."""
    number = len([path for path in DEVICES.glob("nvidia*") if path.name.removeprefix("nvidia").isdecimal()])
    if not number:
        return [ok("no NVIDIA GPU: runs train on the CPU")]
    import torch

    text = f"{count(number, 'NVIDIA GPU')}, torch {torch.__version__} is built for CUDA {torch.version.cuda}"
    if torch.cuda.is_available():
        return [ok(text)]
    remedy = "see what nvidia-smi says of the driver"
    if torch.version.cuda is None:
        remedy = f"pip install --force-reinstall torch=={_installed('torch')} from an index with CUDA builds"
    return [warning(f"{text} and cannot use them", remedy)]
