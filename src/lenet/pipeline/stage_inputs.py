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

from lenet.config.networks import NETWORKS, builder_module
from lenet.config.params import Params
from lenet.config.schema import DataConfig
from lenet.core.atomic_io import canonical_json, remove, sha256_bytes, sha256_file, write_text
from lenet.core.paths import STAGE_INPUTS
from lenet.core.project import Project
from lenet.data.datasets import load_data_config
from lenet.data.image_folder import folder_digest
from lenet.pipeline.search_stages import search_words
from lenet.runs.fingerprint import PACKAGE, code_digest, digest_sources
from lenet.search.spec import read_spec


@dataclass(frozen=True)
class Code:
    """The sources that decide what a stage leaves.

    Attributes:
        start: the module whose imports are followed.
        counted: packages and modules that count where they are imported.
        ignored: those among them that change nothing of what the stage leaves.
        files: other files of the package that count, as a pattern.
        networks: whether the modules of the networks count, which no import names.
    """

    start: str
    counted: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    files: str | None = None
    networks: bool = False

    @property
    def starts(self) -> tuple[str, ...]:
        """The modules whose imports are followed."""
        return (self.start, *map(builder_module, NETWORKS)) if self.networks else (self.start,)

    def digest(self, package: Path = PACKAGE) -> str:
        """Return the digest of the sources under a `lenet` package folder."""
        sources = digest_sources(package, self.starts, self.counted, self.ignored)
        if self.files is None:
            return sources
        files = {path.name: sha256_file(path) for path in sorted(package.glob(self.files))}
        return sha256_bytes(canonical_json({"sources": sources, "files": files}).encode())


TEMPLATES = "report/templates/*"

CODE = {
    "prepare": Code(
        "lenet.data.prepare",
        (
            "lenet.data.idx",
            "lenet.data.image_folder",
            "lenet.data.prepare",
            "lenet.data.arrays",
            "lenet.data.split",
        ),
    ),
    "train": Code("lenet.pipeline.outs", ("lenet.pipeline.outs", "lenet.pipeline.dvc_metrics", "lenet.evaluation")),
    "search": Code(
        "lenet.search.runner", ("lenet.search",), ignored=("lenet.search.progress", "lenet.search.dashboard")
    ),
    "refit": Code(
        "lenet.pipeline.search_stages",
        (
            "lenet.pipeline.search_stages",
            "lenet.search.refit",
            "lenet.search.results",
            "lenet.pipeline.outs",
            "lenet.pipeline.dvc_metrics",
            "lenet.evaluation",
        ),
    ),
    "evaluate": Code(
        "lenet.pipeline.stages",
        ("lenet.pipeline.stages", "lenet.pipeline.evaluate", "lenet.pipeline.dvc_metrics", "lenet.evaluation"),
    ),
    "export": Code(
        "lenet.pipeline.export",
        (
            "lenet.evaluation.latency",
            "lenet.evaluation.predict",
            "lenet.export",
            "lenet.pipeline.dvc_metrics",
            "lenet.models",
        ),
        networks=True,
    ),
    "register": Code(
        "lenet.pipeline.register",
        (
            "lenet.evaluation.stats.welch",
            "lenet.pipeline.register",
            "lenet.report",
            "lenet.registry.manifest",
            "lenet.registry.packaging",
            "lenet.registry.register",
        ),
        files=TEMPLATES,
    ),
    "report": Code("lenet.report.build_report", ("lenet.evaluation.stats.welch", "lenet.report"), files=TEMPLATES),
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
    spec = read_spec(project, search_words(params))
    budget = {"trials": spec.search.trials, "minutes": spec.search.minutes}
    inputs: dict[str, dict[str, Any]] = {
        "fetch": {"name": data.name, "origin": tree["origin"]} | _pictures(project, data),
        "prepare": tree,
        "search": spec.identity() | {"budget": budget},
    }
    for stage, code in CODE.items():
        digests = {"training": {name: code_digest(name) for name in NETWORKS}} if stage in TRAINING else {}
        inputs[stage] = inputs.get(stage, {}) | {"code": digests | {"stage": code.digest()}}
    return inputs


def _pictures(project: Project, data: DataConfig) -> dict[str, str]:
    """Return the digest of a data set that is a folder of images: the fetch stage copies them when they change."""
    if data.image_folder is None:
        return {}
    return {"images": folder_digest(project.root / data.image_folder, data.classes)}


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
