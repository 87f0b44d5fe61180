"""The run folders: every seal and every digest of what is on record."""

from __future__ import annotations

import shlex
from collections import Counter

from lenet.core.atomic_io import read_json
from lenet.core.errors import DamagedError, UnreadableError
from lenet.core.file_lock import is_held
from lenet.core.project import Project
from lenet.doctor.finding import Finding, counted, few, ok, problem, warning
from lenet.pipeline.stages import PIPELINE
from lenet.runs.run_dir import FINGERPRINT, FINISHED, OWNER, RUNNING, RunDir
from lenet.tracking.entities import EVALUATION, evaluation

IDENTITY = "run.json"


def run_folders(project: Project) -> list[RunDir]:
    """Return every folder that is named as a run's, by name, whatever lies in it."""
    folders = project.runs.iterdir() if project.runs.is_dir() else []
    return [RunDir(path) for path in sorted(folders) if path.is_dir() and FINGERPRINT.fullmatch(path.name)]


def check_runs(project: Project) -> list[Finding]:
    """Read every run folder, and hash the files of the finished ones; those at work are left alone."""
    findings: list[Finding] = []
    states: Counter[str] = Counter()
    empty: list[str] = []
    for folder in run_folders(project):
        if is_held(folder.lock):
            states["at work"] += 1
        elif not (folder.path / IDENTITY).is_file():
            empty.append(folder.short)
        elif found := _check_run(folder):
            findings.append(found)
        else:
            states[(folder.state() or "new").lower()] += 1
    if empty:
        words = " ".join(f"runs/{short}*" for short in empty)
        findings.append(warning(f"no {IDENTITY}, never begun: {few(empty)}", f"rm -r {words}"))
    if findings:
        return findings
    told = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    return [ok(f"{counted(states.total(), 'run')}{f' ({told})' if told else ''}, every seal and digest right")]


def _check_run(folder: RunDir) -> Finding | None:
    try:
        folder.check_readable()
        folder.identity()
    except UnreadableError as error:
        return problem(_about(folder, error), "see to its rights and the disk; nothing of it is deleted meanwhile")
    except DamagedError as error:
        if own := _own_name(folder):
            return problem(
                f"{folder.short}: is run {own[:12]} under another name", f"mv runs/{folder.short}* runs/{own}"
            )
        return problem(_about(folder, error), "`lenet clean --yes` deletes it; asked for again it is trained again")
    try:
        folder.check_config()
        status = folder.status()
        if status["state"] == FINISHED:
            folder.check()
        if status["state"] != RUNNING:
            folder.history()
    except DamagedError as error:
        return problem(_about(folder, error), _again(folder))
    try:
        evaluation(folder)
    except DamagedError as error:
        return problem(_about(folder, error), f"rm runs/{folder.short}*/{EVALUATION}; lenet evaluate; lenet sync")
    return None


def _own_name(folder: RunDir) -> str | None:
    """Return the fingerprint of a folder that was renamed, or None where it is something else that is wrong."""
    try:
        own = str(read_json(folder.path / IDENTITY, {OWNER: str})[OWNER])
    except DamagedError:
        return None
    is_free = own != folder.fingerprint and not (folder.path.parent / own).exists()
    return own if is_free and FINGERPRINT.fullmatch(own) else None


def _about(folder: RunDir, error: DamagedError) -> str:
    """Return what an error says of a file, less the remedy; the folder's name is 64 digits that nobody reads."""
    said = str(error).partition(";")[0]
    return f"{folder.short}: {said.replace(f'{folder.path}/', '')}"


def _again(folder: RunDir) -> str:
    """Return what one types to have the run trained anew, to the same weights."""
    identity = folder.identity()
    if PIPELINE in identity["sweeps"]:
        return f"lenet train {identity['config']['name']}: it is trained anew, to the same weights"
    if identity["overrides"] or not identity["sweeps"]:
        words = shlex.join(["python", "train.py", *identity["overrides"]])
        return f"{words}: it is trained anew, to the same weights"
    return "ask for it again: it is trained anew, to the same weights"
