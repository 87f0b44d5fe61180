"""`lenet gate`: judge the network that the pipeline chose against the champion, for a CI job.

A network that is worse fails the job. One that is no better does not: the champion stays, and nothing is wrong.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lenet.config.params import Params
from lenet.core.atomic_io import read_json, write_text
from lenet.core.errors import ConfigError, LenetError
from lenet.core.paths import REGISTRATION, REPORT_MARKDOWN
from lenet.core.project import Project
from lenet.evaluation.trained_model import TrainedModel, read_chosen
from lenet.gate.evaluate import GateResult, judge
from lenet.gate.promote import PromotionResult, promote
from lenet.registry.changes import ROLLED_BACK_TAGS
from lenet.registry.registered_model import RegisteredModel
from lenet.registry.rollback import rolled_back_version
from lenet.registry.versions import CHAMPION, Version
from lenet.tracking.store import tracking_uri
from lenet.tracking.store_errors import database_path

GATE_REPORT = Path("results/retrain.md")

Register = Callable[[], PromotionResult | None]


@dataclass(frozen=True)
class GateReport:
    """What `lenet gate` decided.

    Attributes:
        good: the network is no worse than required.
        headline: the decision in a line.
        registry: the registry, without its address, which may be a secret.
        result: the gate's checks, where test images were used.
    """

    good: bool
    headline: str
    registry: str
    result: GateResult | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The report for a terminal, the headline last."""
        return (*(self.result.lines if self.result else ()), f"registry: {self.registry}", self.headline)


def run_gate(project: Project, params: Params, uri: str | None, register: Register | None) -> GateReport:
    """Judge the chosen network against the champion, and write results/retrain.md.

    Args:
        project: the project.
        params: the model's name, the data set, the gate's thresholds.
        uri: the MLflow store with the champion, read only; None: the project's.
        register: registers the chosen network (the register stage); it then becomes champion where the gate lets it
            through. None: nothing is changed.

    Raises:
        ConfigError: another store than the project's is to be changed, or its SQLite file is missing.
        LenetError: the pipeline has chosen nothing yet, a network is not what was registered, or the store cannot be
            reached; or the registry is to be changed in a DVC experiment.
    """
    if register is not None:
        if uri is not None:
            raise ConfigError("--promote changes the project's own registry: leave --against out")
        project.refuse_experiment("lenet gate --promote")
    path = database_path(tracking_uri(project, uri)) if uri is not None else None
    if path is not None and not path.is_file():  # an empty store has no champion, and any network would pass
        raise ConfigError(f"--against: {path} is missing; name the store that has the champion")
    chosen = read_chosen(project)
    with RegisteredModel(project, params.register.model, uri) as registry:
        report = _judge_known(registry, params, chosen)
        if report is None and register is None:
            report = _judge_new(registry, params, chosen)
        elif report is None and register is not None:
            report = _promote(registry, params, chosen, register)
    assert report is not None
    _write(project, report)
    return report


def _judge_known(registry: RegisteredModel, params: Params, chosen: TrainedModel) -> GateReport | None:
    """Report on a network that is the champion already, or was rolled back; otherwise None."""
    champion, known = registry.by_alias(CHAMPION), registry.by_run(chosen.fingerprint, chosen.weights_sha256)
    if champion is not None and champion in known:
        registry.verify(champion)
        found = judge(registry, params, chosen, None)  # floor and reference may have changed since it was promoted
        if found.decision.is_worse:
            headline = f"refused ({', '.join(found.decision.failed)}): {champion.title} is the champion"
            return GateReport(False, headline, _registry_name(registry), found)
        return GateReport(True, f"nothing to do: {champion.title} is the champion", _registry_name(registry), found)
    deposed = rolled_back_version(known)
    if deposed is None:
        return None
    when, by = (deposed.tags.get(name, "?") for name in ROLLED_BACK_TAGS)
    again = f"`lenet promote {deposed.number} --reason …` promotes it again"
    headline = f"nothing to do: {deposed.title} was rolled back by {by} at {when}; {again}"
    return GateReport(True, headline, _registry_name(registry))


def _judge_new(registry: RegisteredModel, params: Params, chosen: TrainedModel) -> GateReport:
    champion = registry.by_alias(CHAMPION)
    found = judge(registry, params, chosen, champion)
    if found.decision.promote:
        headline = f"passed: {chosen.name} would become the {'champion' if champion else 'first champion'}"
        return GateReport(True, headline, _registry_name(registry), found)
    return _report_refusal(registry, found, champion)


def _promote(registry: RegisteredModel, params: Params, chosen: TrainedModel, register: Register) -> GateReport:
    version, result = _newest(registry, chosen.weights_sha256), None
    if version is None:
        result = register()
        registry.refresh()
        # The register stage may have trained the run again, to weights that differ in the last bits.
        version = _newest(registry, read_json(registry.project.root / REGISTRATION)["weights_sha256"])
        if version is None:
            raise LenetError(
                f"{registry.name}: was registered in another store than {registry.store}; run the command again, or set"
                " tracking.uri and MLFLOW_TRACKING_URI to the same"
            )
    champion = registry.by_alias(CHAMPION)
    if result is None or result.gate is None:  # otherwise the gate has judged it as the first champion
        result = promote(registry.project, params, version.number, None)
    if result.done or result.gate is None:
        return GateReport(result.done, result.lines[-1], _registry_name(registry), result.gate)
    return _report_refusal(registry, result.gate, champion)


def _report_refusal(registry: RegisteredModel, found: GateResult, champion: Version | None) -> GateReport:
    stays = f"{champion.title} stays the champion" if champion else "there is no champion yet"
    if found.decision.is_worse:
        headline = f"refused ({', '.join(found.decision.failed)}): {stays}"
        return GateReport(False, headline, _registry_name(registry), found)
    alike = found.decision.outcome == "nothing to decide"
    return GateReport(True, f"{'no difference' if alike else 'no better'}: {stays}", _registry_name(registry), found)


def _newest(registry: RegisteredModel, weights_sha256: str) -> Version | None:
    return next((one for one in reversed(registry.versions) if one.weights_sha256 == weights_sha256), None)


def _registry_name(registry: RegisteredModel) -> str:
    path = database_path(registry.uri)
    if path is None:
        return "the MLflow server's"
    if path.resolve().is_relative_to(registry.project.home.resolve()):
        return f"{path.name} of this home; no server is named"
    return f"{path.name}, an SQLite store elsewhere"


def _write(project: Project, report: GateReport) -> None:
    """Write the report for a pull request, with the pipeline's own report folded in.

    The report's pictures are left out: they lie in files that a comment cannot show.
    """
    lines = [f"# {_escape(report.headline[0].upper() + report.headline[1:])}", "", f"Registry: {report.registry}.", ""]
    if report.result is not None:
        decision = report.result.decision
        lines += ["## What the gate checked", "", f"{_escape(report.result.title)}.", ""]
        lines += [text for note in decision.notes for text in (f"{_escape(note)}.", "")]
        lines += ["| check | result | why |", "| --- | --- | --- |"]
        for check in decision.checks:
            lines.append(f"| {check.name} | {'passed' if check.passed else 'failed'} | {_escape(check.line)} |")
        lines.append("")
    path = project.root / REPORT_MARKDOWN
    if path.is_file():
        text = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("![")]
        lines += ["<details><summary>The report</summary>", "", *text, "", "</details>", ""]
    write_text(project.root / GATE_REPORT, "\n".join(lines))


def _escape(text: str) -> str:
    """Return text as Markdown that shows exactly it: names and reasons are anybody's."""
    return re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", html.escape(" ".join(text.split()), quote=False))
