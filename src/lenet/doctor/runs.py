"""Run directories: the seals of their JSON files and the digests of finished runs' files."""

from __future__ import annotations

import shlex
from collections import Counter

from lenet.core.errors import DamagedError, UnreadableError
from lenet.core.file_lock import is_held
from lenet.core.project import Project
from lenet.doctor.finding import Finding, count, join_names, ok, problem, warning
from lenet.runs.run_dir import FINGERPRINT, FINISHED, RUNNING, RunDir
from lenet.tracking.entities import EVALUATION, evaluation


def check_runs(project: Project) -> list[Finding]:
    """Read every run directory, and hash the files of finished runs; runs that are being trained are skipped."""
    findings: list[Finding] = []
    states: Counter[str] = Counter()
    empty: list[str] = []
    for path in sorted(project.runs.glob("*")):
        if not FINGERPRINT.fullmatch(path.name):
            continue
        run = RunDir(path)
        if is_held(run.lock):
            states["in training"] += 1
        elif not (path / "run.json").is_file():
            empty.append(run.short)
        elif found := _check_run(run):
            findings.append(found)
        else:
            states[(run.state() or "new").lower()] += 1
    if empty:
        folders = " ".join(f"runs/{short}*" for short in empty)
        findings.append(warning(f"no run.json, never started: {join_names(empty)}", f"rm -r {folders}"))
    by_state = ", ".join(f"{number:,} {state}" for state, number in sorted(states.items()))
    return findings or [ok(f"{count(states.total(), 'run')}{f' ({by_state})' if by_state else ''} with right digests")]


def _check_run(run: RunDir) -> Finding | None:
    try:
        run.check_readable()
        run.identity()
    except UnreadableError as error:
        return problem(_text(run, error), "check the file's permissions and the disk; nothing is deleted meanwhile")
    except DamagedError as error:
        return problem(_text(run, error), "`lenet clean --yes` deletes it; the same command trains it again")
    try:
        run.check_config()
        if run.status()["state"] == FINISHED:
            run.check()
        if run.status()["state"] != RUNNING:
            run.history()
    except DamagedError as error:
        overrides = run.identity()["overrides"]  # none: a run of the pipeline
        command = shlex.join(["python", "train.py", *overrides]) if overrides else "dvc repro"
        return problem(_text(run, error), f"{command} trains it again, to the same weights")
    try:
        evaluation(run)
    except DamagedError as error:
        return problem(_text(run, error), f"rm runs/{run.short}*/{EVALUATION}; lenet evaluate; lenet sync")
    return None


def _text(run: RunDir, error: DamagedError) -> str:
    """Return an error's text without its remedy and without the run directory's long path."""
    fault = str(error).partition(";")[0]
    return f"{run.short}: {fault.replace(f'{run.path}/', '')}"
