"""Versions: this Python, what pyproject.toml asks for, and what constraints.txt pins."""

from __future__ import annotations

import platform
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from lenet.core.project import Project
from lenet.doctor.finding import Finding, counted, few, ok, problem, warning

MIN_PYTHON = (3, 11)
CONSTRAINTS = "constraints.txt"
PYPROJECT = "pyproject.toml"
INSTALL = "make install"


def check_versions(project: Project) -> list[Finding]:
    """Compare what is installed with what the project asks for.

    A package that pyproject.toml asks for and that is missing or of another version is a problem; one that differs from
    constraints.txt is a warning, and one that is pinned but not installed is nothing: extras bring some.
    """
    findings = []
    if sys.version_info < MIN_PYTHON:
        least = ".".join(map(str, MIN_PYTHON))
        findings.append(
            problem(f"python is {platform.python_version()}", f"make the venv with python {least} or newer")
        )
    asked = _asked(project.root / PYPROJECT)
    unfit = [text for requirement in asked if (text := _unfit(requirement))]
    if unfit:
        findings.append(problem(f"not as {PYPROJECT} asks: {few(unfit)}", INSTALL))
    path = project.root / CONSTRAINTS
    if not path.is_file():
        return [*findings, warning(f"{CONSTRAINTS} is missing: no version is pinned", f"git checkout {CONSTRAINTS}")]
    pins = _pins(path)
    here = {name: found for name in pins if (found := _installed(name)) is not None}
    said = {text.split()[0] for text in unfit}
    drifted = [
        f"{name} {found} (pinned {pins[name]})"
        for name, found in here.items()
        if found != pins[name] and name.lower() not in said
    ]
    if drifted:
        findings.append(
            warning(f"{counted(len(drifted), 'package')} not as {CONSTRAINTS} pins: {few(drifted)}", INSTALL)
        )
    return findings or [ok(f"python {platform.python_version()}, {counted(len(here), 'package')} as in {CONSTRAINTS}")]


def _asked(path: Path) -> list[Requirement]:
    """Return what pyproject.toml asks for here, without the extras."""
    if not path.is_file():
        return []
    try:
        lines = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
        found = [Requirement(line) for line in lines]
    except (tomllib.TOMLDecodeError, KeyError, InvalidRequirement):
        return []  # pip says it better
    return [requirement for requirement in found if requirement.marker is None or requirement.marker.evaluate()]


def _unfit(requirement: Requirement) -> str:
    found = _installed(requirement.name)
    if found is None:
        return f"{requirement.name.lower()} is not installed"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name.lower()} {found} is not {requirement.specifier}"
    return ""


def _pins(path: Path) -> dict[str, str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("==") for line in lines if "==" in line)
    return {name.strip(): pinned.strip() for name, _, pinned in pairs}


def _installed(name: str) -> str | None:
    """Return a package's version without its local label: `2.13.0+cpu` and `2.13.0+cu130` are one version."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None
