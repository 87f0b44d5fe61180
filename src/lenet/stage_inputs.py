"""What the results of the long stages are made of, resolved by the compose stage into one file a stage.

A stage of dvc.yaml depends on its file, build/conf/stages/<stage>.yaml, and not on conf/ or on folders of sources: a
comment there, another mirror of the data, or code that draws a progress bar makes a stage stale that would come to the
same results, and in a fresh clone, where there are no runs to answer from, trains for an hour. Code is digested as in a
run's fingerprint.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from lenet.data.sets import load_data_config
from lenet.durable import remove, write_text
from lenet.fingerprint import PACKAGE, code_digest, digest_sources
from lenet.pipeline import STAGE_INPUTS, Params
from lenet.project import Project
from lenet.search.command import pipeline_words
from lenet.search.question import read_question


@dataclass(frozen=True)
class Code:
    """The sources that decide what a stage leaves.

    Attributes:
        start: the module whose imports are followed.
        counted: packages and modules that count where they are imported.
        ignored: those among them that change nothing of what the stage leaves.
    """

    start: str
    counted: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def digest(self, package: Path = PACKAGE) -> str:
        """Return the digest of the sources under a `lenet` package folder."""
        return digest_sources(package, self.start, self.counted, self.ignored)


CODE = {
    "prepare": Code(
        "lenet.data.prepare", ("lenet.data.idx", "lenet.data.prepare", "lenet.data.prepared", "lenet.data.split")
    ),
    "train": Code("lenet.outs", ("lenet.outs", "lenet.metrics", "lenet.evaluation")),
    "search": Code("lenet.search.session", ("lenet.search",), ignored=("lenet.search.live",)),
    "refit": Code(
        "lenet.search.refit",
        ("lenet.search.refit", "lenet.search.findings", "lenet.outs", "lenet.metrics", "lenet.evaluation"),
    ),
    "evaluate": Code("lenet.stages", ("lenet.stages", "lenet.metrics", "lenet.evaluation")),
    "export": Code(
        "lenet.export.stage",
        (
            "lenet.evaluation.agreement",
            "lenet.evaluation.latency",
            "lenet.evaluation.onnx_reader",
            "lenet.evaluation.predict",
            "lenet.export",
            "lenet.metrics",
            "lenet.network",
        ),
    ),
    "register": Code(
        "lenet.promotion.registration",
        (
            "lenet.evaluation.over_seeds",
            "lenet.export.packing",
            "lenet.promotion.registration",
            "lenet.report",
            "lenet.tracking.logged_models",
            "lenet.tracking.onnx_model",
            "lenet.tracking.provenance",
            "lenet.tracking.registry",
            "lenet.tracking.sealed",
        ),
    ),
    "report": Code("lenet.report.writing", ("lenet.evaluation.over_seeds", "lenet.report", "lenet.search.report")),
}
"""By stage. Code that trains has a digest of its own, which is part of each run's fingerprint."""

TRAINING = ("train", "search", "refit")
"""Stages that train."""


def resolve_inputs(project: Project, params: Params) -> dict[str, dict[str, Any]]:
    """Return for each stage what its result is made of beside params.yaml and the outs of other stages.

    Raises:
        ConfigError: the data set's file or the search's is not right.
    """
    data = load_data_config(project.conf, params.data)
    tree = asdict(data)
    if tree["origin"] is not None:
        del tree["origin"]["sources"]  # the digests say what the files are, wherever they come from
    question = read_question(project, pipeline_words(params))
    budget = {"trials": question.search.trials, "minutes": question.search.minutes}
    inputs: dict[str, dict[str, Any]] = {
        "fetch": {"name": data.name, "origin": tree["origin"]},
        "prepare": tree,
        "search": question.meaning() | {"budget": budget},
    }
    for stage, code in CODE.items():
        digests = {"training": code_digest()} if stage in TRAINING else {}
        inputs[stage] = inputs.get(stage, {}) | {"code": digests | {"stage": code.digest()}}
    return inputs


def write_inputs(project: Project, inputs: dict[str, dict[str, Any]]) -> list[Path]:
    """Write build/conf/stages/<stage>.yaml for each stage and delete those of stages that are no more."""
    folder = project.root / STAGE_INPUTS
    written = []
    for stage, body in inputs.items():
        path = folder / f"{stage}.yaml"
        text = yaml.dump(body, Dumper=_Plain, sort_keys=False, allow_unicode=True)
        write_text(path, f"# written by `lenet compose`: what the results of {stage} are made of\n{text}")
        written.append(path)
    for path in folder.glob("*.yaml"):
        if path not in written:
            remove(path, project.root)
    return written


class _Plain(yaml.SafeDumper):
    """YAML without anchors, which would say of two values that they are one."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Plain.add_representer(tuple, yaml.SafeDumper.represent_list)
