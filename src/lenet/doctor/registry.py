"""The model registry: one champion, and behind every version its run and the bytes that were registered."""

from __future__ import annotations

from lenet.config.params import read_params
from lenet.core.atomic_io import read_json
from lenet.core.errors import DamagedError, LenetError
from lenet.core.file_lock import is_held
from lenet.core.paths import REGISTRATION
from lenet.core.project import Project
from lenet.doctor.finding import Finding, counted, few, ok, problem, warning
from lenet.registry.history import last_champion, read_history
from lenet.registry.history_tags import shared_history
from lenet.registry.mlflow_registry import LOCK
from lenet.registry.registered_model import WEIGHTS, RegisteredModel
from lenet.registry.transaction import is_unsettled
from lenet.registry.versions import CHAMPION, Version
from lenet.runs.run_dir import FINISHED, RunDir

REGISTER, PROMOTE, SYNC = "lenet register", "lenet promote", "lenet sync"
DAMAGED = "damaged"
"""What the history calls an entry that it cannot read."""


def check_registry(project: Project) -> list[Finding]:
    """Look at the champion, at the history of its changes, and at every byte of every version."""
    with RegisteredModel(project, read_params(project).register.model) as shelf:
        findings = _check_history(project) + _check_champion(shelf)
        for version in shelf.versions:
            findings += _check_version(shelf, version)
        findings += _check_registered(project, shelf)
        if findings:
            return findings
        if not shelf.versions:
            return [ok("nothing is registered yet")]
        champion = shelf.holder(CHAMPION)
        shown = f"; the {CHAMPION} is {_shown(champion)}" if champion else ""
        return [ok(f"{counted(len(shelf.versions), 'version')}, each with its run and its bytes{shown}")]


def _shown(version: Version) -> str:
    return version.title


def _check_history(project: Project) -> list[Finding]:
    findings = []
    if is_unsettled(project) and not is_held(project.home / LOCK):
        findings.append(
            warning("a change of the champion is half made, its process is gone", f"{PROMOTE} completes it")
        )
    unread = [str(entry.number) for entry in read_history(project) if entry.action == DAMAGED]
    if unread:
        findings.append(
            warning(f"promotions/: entries that cannot be read: {few(unread)}", "bring them back from a backup")
        )
    return findings


def _check_champion(shelf: RegisteredModel) -> list[Finding]:
    """See that there is a champion once there was one; that there is one at most is the store's own constraint."""
    if shelf.holder(CHAMPION) is not None:
        return []
    was = last_champion(shared_history(shelf), shelf.model, shelf.store)
    if was is not None:
        lost = f"{shelf.model}: has no {CHAMPION}; it was {was.variant} seed {was.seed}, version {was.version}"
        return [problem(lost, f"{REGISTER}: it is the champion again then, as the history says")]
    if shelf.versions:
        return [warning(f"{shelf.model}: {counted(len(shelf.versions), 'version')}, and no {CHAMPION} yet", PROMOTE)]
    return []


def _check_version(shelf: RegisteredModel, version: Version) -> list[Finding]:
    try:
        shelf.check(version)
    except LenetError as error:
        said = str(error).partition(";")[0].removeprefix(f"{version.label}: ")
        remedy = f"do not serve it; {REGISTER} makes it anew"
        remedy += f", then {PROMOTE}" if CHAMPION in version.aliases else " where it is the chosen one"
        return [problem(f"{_shown(version)}: {said}", remedy)]
    run = RunDir(shelf.project.runs / version.fingerprint)
    if not run.path.is_dir():
        return [warning(f"{_shown(version)}: its run folder {run.short} is gone", "ask for the run again")]
    try:
        status = run.status()
    except DamagedError:
        return []  # the check of the run folders says so
    if status["state"] == FINISHED and status["files"].get(WEIGHTS) != version.weights_sha256:
        text = f"{_shown(version)}: its run {run.short} was trained again here, to other weights"
        return [
            warning(text, f"{REGISTER} makes a version of these; `lenet replay {run.short}` says whether they stay")
        ]
    return []


def _check_registered(project: Project, shelf: RegisteredModel) -> list[Finding]:
    """See that the registry has what the pipeline registered last."""
    try:
        known = read_json(project.root / REGISTRATION)
    except FileNotFoundError:
        return []
    except DamagedError:
        return [problem(f"{REGISTRATION}: is damaged", "dvc repro register")]
    here = (project.runs / known["run"]).is_dir()  # a fresh clone has the file and no runs yet
    if (
        here
        and known["model"] == shelf.model
        and all(one.weights_sha256 != known["weights_sha256"] for one in shelf.versions)
    ):
        return [warning(f"{REGISTRATION}: what it names is not in the registry", SYNC)]
    return []
