"""The data sets: every original file against its config, every array against its card."""

from __future__ import annotations

from pathlib import Path

from lenet.config.params import read_params
from lenet.config.schema import DataConfig
from lenet.core.atomic_io import sha256_file
from lenet.core.errors import LenetError
from lenet.core.project import Project
from lenet.data.arrays import ARRAYS, CARD, read_card
from lenet.data.datasets import GROUP, load_data_config
from lenet.data.download.fetch import origin_files
from lenet.doctor.finding import Finding, counted, few, ok, problem, warning


def check_data(project: Project) -> list[Finding]:
    """Hash what is there of each data set that conf/data names."""
    findings: list[Finding] = []
    whole: list[str] = []
    needed = read_params(project).data
    for name in sorted({needed, *(path.stem for path in (project.conf / GROUP).glob("*.yaml"))}):
        found = _check_set(project, name, is_needed=name == needed)
        findings += found
        if not found and project.prepared(name).is_dir():
            whole.append(name)
    return findings or [ok(f"{counted(len(whole), 'data set')} as on record, byte for byte: {few(whole)}")]


def _check_set(project: Project, name: str, is_needed: bool) -> list[Finding]:
    raw, prepared = project.raw(name), project.prepared(name)
    if not _holds_files(raw) and not _holds_files(prepared):
        return [warning(f"{name} is not here yet", f"lenet data {name}")] if is_needed else []
    try:
        data = load_data_config(project.conf, name)
    except LenetError as error:
        return [problem(str(error), f"mend conf/{GROUP}/{name}.yaml")]
    return _check_raw(data, raw, is_needed) + _check_prepared(data, prepared, is_needed)


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() and path.name != ".gitignore" for path in folder.rglob("*"))


def _check_raw(data: DataConfig, raw: Path, is_needed: bool) -> list[Finding]:
    if data.origin is None:
        return []
    files = origin_files(data.origin).values()
    missing = [file.name for file in files if not (raw / file.name).is_file()]
    damaged = [file.name for file in files if file.name not in missing and sha256_file(raw / file.name) != file.sha256]
    findings = []
    if damaged:
        findings.append(
            problem(f"data/raw/{data.name}: damaged or other files: {few(damaged)}", f"lenet fetch {data.name}")
        )
    if missing and is_needed:
        findings.append(warning(f"data/raw/{data.name}: missing: {few(missing)}", f"lenet fetch {data.name}"))
    return findings


def _check_prepared(data: DataConfig, prepared: Path, is_needed: bool) -> list[Finding]:
    remedy = f"lenet prepare {data.name}"
    if not (prepared / CARD).is_file():
        return [warning(f"data/prepared/{data.name}: has no card, it is not prepared", remedy)] if is_needed else []
    try:
        card = read_card(prepared)
    except LenetError as error:
        return [problem(str(error), remedy)]
    findings = []
    damaged = [
        name
        for name in ARRAYS
        if not (prepared / name).is_file() or sha256_file(prepared / name) != card["arrays"][name]
    ]
    if damaged:
        findings.append(problem(f"data/prepared/{data.name}: damaged or missing arrays: {few(damaged)}", remedy))
    if data.origin is not None and card["raw"] != {
        file.name: file.sha256 for file in origin_files(data.origin).values()
    }:
        findings.append(warning(f"data/prepared/{data.name}: made from other files than conf/data names now", remedy))
    return findings
