"""`lenet gate`: may what the pipeline chose be champion? The answer that a change is merged by, with its reasons.

Worse is refused, and the command fails. No better is not: the champion stays, and nobody did anything wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lenet.config.params import Params
from lenet.core.atomic_io import read_json
from lenet.core.errors import ConfigError, LenetError
from lenet.core.paths import REGISTRATION
from lenet.core.project import Project
from lenet.evaluation.trained_model import TrainedModel, read_chosen
from lenet.gate.evaluate import GateResult, judge_network
from lenet.gate.gate_report import write_ruling
from lenet.gate.promote import PromotionResult, promote, rolled_back_version
from lenet.pipeline.register import register_choice
from lenet.registry.alias_changes import ROLLED_BACK
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.versions import CHAMPION, Version
from lenet.tracking.store import database_path, tracking_uri

Tell = Callable[[str], None]


@dataclass(frozen=True)
class GateReport:
    """What is to become of the network that the pipeline chose.

    Attributes:
        good: it is no worse than what was asked for; nothing to be red about.
        headline: the answer in a line.
        registry: which one was asked, without its address, which may be a secret.
        judgement: what the test images said, where they were asked.
    """

    good: bool
    headline: str
    registry: str
    judgement: GateResult | None = None

    def answer(self) -> PromotionResult:
        """Return the ruling as the command line prints it, the headline last."""
        found = self.judgement
        reasons = (found.title, *(f"  {line}" for line in found.verdict.lines()[1:])) if found else ()
        return PromotionResult(self.good, (*reasons, f"registry: {self.registry}", self.headline), found)


def run_gate(project: Project, params: Params, uri: str | None, act: bool, tell: Tell) -> GateReport:
    """Judge what the evaluation chose against the champion, and write results/retrain.md.

    Args:
        project: where things are.
        params: the model's name, the data set, the gate's thresholds.
        uri: the MLflow store whose champion is judged against, read only; None: the project's.
        act: register what was chosen and make it champion where the gate lets it through; otherwise nothing is changed.
        tell: takes a line for the user.

    Raises:
        ConfigError: another store than the project's is to be changed, or its SQLite file is not there.
        LenetError: the pipeline has chosen nothing yet, a network is not what was registered, or the store cannot be
            reached; or the registry is to be changed in an experiment of DVC's.
    """
    if act and uri is not None:
        raise ConfigError("--promote changes the project's own registry: leave --against out")
    if act:
        project.refuse_experiment("lenet gate --promote")
    if uri is not None:
        _check_is_there(tracking_uri(project, uri))
    chosen = read_chosen(project)
    with RegisteredModel(project, params.register.model, uri) as shelf:
        ruling = _settled(shelf, params, chosen, tell) or (
            _acted(shelf, params, chosen, tell) if act else _judged(shelf, params, chosen, tell)
        )
    write_ruling(project, ruling.headline, ruling.registry, ruling.judgement)
    return ruling


def _settled(shelf: RegisteredModel, params: Params, chosen: TrainedModel, tell: Tell) -> GateReport | None:
    """Rule where there is nothing to decide: the chosen network is the champion, or was rolled back; or None."""
    champion, known = shelf.holder(CHAMPION), shelf.of_run(chosen.fingerprint, chosen.weights_sha256)
    if champion is not None and champion in known:
        shelf.check(champion)
        # It has nobody to beat; that it still is what the floor and the reference ask for is looked at all the same.
        found = judge_network(shelf, params, chosen, None, None, tell)
        if found.verdict.is_worse:
            return GateReport(
                False, f"refused ({_failed(found)}): {champion.title} is the champion", _name(shelf), found
            )
        return GateReport(True, f"nothing to do: {champion.title} is the champion", _name(shelf), found)
    deposed = rolled_back_version(known)
    if deposed is None:
        return None
    when, by = (deposed.tags.get(name, "?") for name in ROLLED_BACK)
    again = f"`lenet promote {deposed.number} --reason …` would bring it back"
    return GateReport(True, f"nothing to do: {deposed.title} was rolled back by {by} at {when}; {again}", _name(shelf))


def _judged(shelf: RegisteredModel, params: Params, chosen: TrainedModel, tell: Tell) -> GateReport:
    champion = shelf.holder(CHAMPION)
    found = judge_network(shelf, params, chosen, champion, None, tell)
    if found.verdict.promote:
        headline = f"passed: {chosen.name} would become the {'champion' if champion else 'first champion'}"
        return GateReport(True, headline, _name(shelf), found)
    return _refused(found, champion, _name(shelf))


def _acted(shelf: RegisteredModel, params: Params, chosen: TrainedModel, tell: Tell) -> GateReport:
    version, answer = _known(shelf, chosen), None
    if version is None:
        version, answer = _registered(shelf, params, tell)
    champion = shelf.holder(CHAMPION)
    if answer is None or answer.judgement is None:  # otherwise the gate has judged it as the first champion
        answer = promote(shelf.project, params, version.number, None, tell)
    if answer.done or answer.judgement is None:
        return GateReport(answer.done, answer.lines[-1], _name(shelf), answer.judgement)
    return _refused(answer.judgement, champion, _name(shelf))


def _registered(shelf: RegisteredModel, params: Params, tell: Tell) -> tuple[Version, PromotionResult | None]:
    """Register the choice, where DVC brought it from elsewhere and no register stage ran here.

    Returns:
        Its version, and what the gate answered where there was no champion.
    """
    answer = register_choice(shelf.project, params, tell)
    shelf.look()
    sha256 = read_json(shelf.project.root / REGISTRATION)["weights_sha256"]
    version = next((one for one in reversed(shelf.versions) if one.weights_sha256 == sha256), None)
    if version is None:
        raise LenetError(
            f"{shelf.model}: was registered in another store than {shelf.store}, which was asked; ask again, or set"
            " tracking.uri and MLFLOW_TRACKING_URI to the same"
        )
    return version, answer


def _refused(found: GateResult, champion: Version | None, registry: str) -> GateReport:
    stays = f"{champion.title} stays the champion" if champion else "there is no champion yet"
    if found.verdict.is_worse:
        return GateReport(False, f"refused ({_failed(found)}): {stays}", registry, found)
    alike = found.verdict.outcome == "nothing to decide"
    return GateReport(True, f"{'cannot be told apart' if alike else 'no better'}: {stays}", registry, found)


def _failed(found: GateResult) -> str:
    return ", ".join(check.name for check in found.verdict.reasons if not check.passed)


def _known(shelf: RegisteredModel, chosen: TrainedModel) -> Version | None:
    """Return the newest version with the chosen weights."""
    return next((one for one in reversed(shelf.versions) if one.weights_sha256 == chosen.weights_sha256), None)


def _name(shelf: RegisteredModel) -> str:
    path = database_path(shelf.uri)
    if path is None:
        return "the MLflow server's"
    if path.resolve().is_relative_to(shelf.project.home.resolve()):
        return f"{path.name} of this home; no server is named"
    return f"{path.name}, an SQLite store elsewhere"


def _check_is_there(uri: str) -> None:
    # Without its file an SQLite store would be one that has no champion, and anything would pass against it.
    path = database_path(uri)
    if path is not None and not path.is_file():
        raise ConfigError(f"--against: {path} is not there; name the store that has the champion")
