"""Data sets: raw files against their config, prepared arrays against their card."""

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
from lenet.doctor.finding import Finding, count, join_names, ok, problem, warning


def check_data(project: Project) -> list[Finding]:
    """Hash the files of each data set in conf/data that is here; only the one in params.yaml has to be."""
    needed = read_params(project).data
    findings: list[Finding] = []
    checked: list[str] = []
    for name in sorted({needed, *(path.stem for path in (project.conf / GROUP).glob("*.yaml"))}):
        raw, prepared = project.raw(name), project.prepared(name)
        if not _holds_files(raw) and not _holds_files(prepared):
            if name == needed:
                findings.append(warning(f"{name} is not here yet", f"lenet data {name}"))
            continue
        checked.append(name)
        try:
            data = load_data_config(project.conf, name)
        except LenetError as error:
            findings.append(problem(str(error), f"edit conf/{GROUP}/{name}.yaml"))
            continue
        findings += _check_raw(data, raw, name == needed) + _check_prepared(data, prepared, name == needed)
    return findings or [ok(f"{count(len(checked), 'data set')} with the right digests: {join_names(checked)}")]


def _holds_files(folder: Path) -> bool:
    return any(path.is_file() and path.name != ".gitignore" for path in folder.rglob("*"))


def _check_raw(data: DataConfig, raw: Path, is_needed: bool) -> list[Finding]:
    if data.origin is None:
        return []
    remedy = f"lenet fetch {data.name}"
    expected = {raw / file.name: file.sha256 for file in origin_files(data.origin).values()}
    missing = [path.name for path in expected if not path.is_file()]
    damaged = [path.name for path, digest in expected.items() if path.is_file() and sha256_file(path) != digest]
    findings = []
    if damaged:
        findings.append(problem(f"data/raw/{data.name}: wrong digests: {join_names(damaged)}", remedy))
    if missing and is_needed:
        findings.append(warning(f"data/raw/{data.name}: missing: {join_names(missing)}", remedy))
    return findings


def _check_prepared(data: DataConfig, prepared: Path, is_needed: bool) -> list[Finding]:
    remedy = f"lenet prepare {data.name}"
    if not (prepared / CARD).is_file():
        return [warning(f"data/prepared/{data.name} is not prepared: it has no card", remedy)] if is_needed else []
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
        findings.append(problem(f"data/prepared/{data.name}: missing or wrong digests: {join_names(damaged)}", remedy))
    if data.origin is not None:
        named = {file.name: file.sha256 for file in origin_files(data.origin).values()}
        if card["raw"] != named:
            text = f"data/prepared/{data.name} is made of other files than conf/data names"
            findings.append(warning(text, remedy))
    return findings
