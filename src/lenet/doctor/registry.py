"""The model registry: a champion, and behind each version its run and the bytes that were registered."""

from __future__ import annotations

from lenet.config.params import read_params
from lenet.core.errors import DamagedError, LenetError
from lenet.core.file_lock import is_held
from lenet.core.project import Project
from lenet.doctor.finding import Finding, count, ok, problem, warning
from lenet.evaluation.trained_model import WEIGHTS
from lenet.registry.changes import LOCK, has_unfinished_change
from lenet.registry.history import last_champion, shared_history
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import CHAMPION, Version
from lenet.runs.run_dir import FINISHED, RunDir

REGISTER, PROMOTE = "lenet register", "lenet promote"


def check_registry(project: Project) -> list[Finding]:
    """Check the champion, and every byte and the run of every version."""
    findings = []
    if has_unfinished_change(project) and not is_held(project.home / LOCK):
        findings.append(warning("a change of the champion was interrupted", f"{PROMOTE} completes it"))
    with RegisteredModel(project, read_params(project).register.model) as model:
        champion = model.by_alias(CHAMPION)
        if champion is None:
            findings += _check_lost_champion(model)
        for version in model.versions:
            findings += _check_version(model, version)
        shown = f"; the {CHAMPION} is {champion.title}" if champion else ""
        return findings or [ok(f"{count(len(model.versions), 'version')}, each with its run and its bytes{shown}")]


def _check_lost_champion(model: RegisteredModel) -> list[Finding]:
    was = last_champion(shared_history(model))
    if was is not None:
        text = f"{model.name} has lost its {CHAMPION}, {was.variant} seed {was.seed}, version {was.version}"
        return [problem(text, f"{REGISTER} makes it the champion again, as the history says")]
    if model.versions:
        return [warning(f"{model.name}: {count(len(model.versions), 'version')} and no {CHAMPION} yet", PROMOTE)]
    return []


def _check_version(model: RegisteredModel, version: Version) -> list[Finding]:
    try:
        model.verify(version)
    except LenetError as error:
        fault = str(error).partition(";")[0].removeprefix(f"{version.label}: ")
        remedy = f"do not serve it; {REGISTER} registers it again"
        return [problem(f"{version.title}: {fault}", f"{remedy}, then {PROMOTE}" if version.aliases else remedy)]
    run = RunDir(model.project.runs / version.fingerprint)
    if not run.path.is_dir():
        return [warning(f"{version.title}: its run directory {run.short} is missing", "train the run again")]
    try:
        status = run.status()
    except DamagedError:
        return []  # the check of the runs reports it
    if status["state"] == FINISHED and status["files"].get(WEIGHTS) != version.weights_sha256:
        text = f"{version.title}: its run {run.short} was trained again, to other weights"
        return [warning(text, f"{REGISTER} registers these; `lenet reproduce {run.short}` checks that they are stable")]
    return []
