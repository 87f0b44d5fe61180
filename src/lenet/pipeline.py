"""The pipeline's knobs (params.yaml) and the places where its stages leave things for each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml

from lenet.composition import compose
from lenet.config import Config, parse_config
from lenet.durable import write_text
from lenet.errors import ConfigError
from lenet.project import Project
from lenet.schema import Range, parse

PARAMS = "params.yaml"
BUILT_CONF = Path("build/conf")
BUILT_TRAIN = Path("build/train")
BUILT_PREDICTIONS = Path("build/predictions")
TRAIN_METRICS = Path("results/train")
CURVES = Path("results/curves")
PLOTS = Path("results/plots")
EVALUATION = Path("results/evaluation.json")
REGISTRATION = Path("results/registration.json")
REPORT_HTML = Path("results/report.html")
REPORT_MARKDOWN = Path("results/report.md")


@dataclass(frozen=True)
class EvaluateParams:
    """How the test set is read."""

    confidence: Annotated[float, Range(above=0, high=0.9999)]


@dataclass(frozen=True)
class RegisterParams:
    """Where the best model goes."""

    model: str


@dataclass(frozen=True)
class Params:
    """The pipeline's own knobs, with the meaning that params.yaml gives them."""

    data: str
    variants: tuple[str, ...]
    seeds: tuple[Annotated[int, Range(low=0, high=2**32 - 1)], ...]
    overrides: tuple[str, ...]
    evaluate: EvaluateParams
    register: RegisterParams


def read_params(project: Project) -> Params:
    """Read params.yaml.

    Raises:
        ConfigError: it says something that is not allowed.
    """
    path = project.root / PARAMS
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    try:
        params: Params = parse(Params, tree, "")
        for name, values in (("variants", params.variants), ("seeds", params.seeds)):
            if not values:
                raise ConfigError(f"{name}=[]: must name at least one")
            if len(set(values)) < len(values):
                raise ConfigError(f"{name}={list(values)}: must not name one twice")
    except ConfigError as error:
        raise ConfigError(f"{PARAMS}: {error}") from error
    return params


def compose_variants(project: Project, params: Params) -> dict[str, Config]:
    """Compose each variant of params.yaml; nothing is written.

    Raises:
        ConfigError: a variant, an override or a file in conf/ is not right.
    """
    known = sorted(path.stem for path in (project.conf / "experiment").glob("*.yaml"))
    configs = {}
    for variant in params.variants:
        if variant not in known:
            raise ConfigError(f"{PARAMS}: variants names {variant}: must be one of {', '.join(known)}")
        configs[variant] = compose(project, [f"experiment={variant}", f"data={params.data}", *params.overrides])
    return configs


def write_variants(project: Project, configs: dict[str, Config]) -> list[Path]:
    """Write build/conf/<variant>.yaml for each variant and delete those of variants that are no more."""
    written = []
    for variant, config in configs.items():
        tree = config.tree()
        del tree["seed"]  # params.yaml has the seeds
        path = project.root / BUILT_CONF / f"{variant}.yaml"
        body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
        write_text(path, f"# written by `lenet compose` from conf/ and params.yaml\n{body}")
        written.append(path)
    for path in (project.root / BUILT_CONF).glob("*.yaml"):
        if path not in written:
            path.unlink()
    return written


def read_variant(project: Project, variant: str, seed: int) -> Config:
    """Read what `write_variants` wrote, for one seed.

    Raises:
        ConfigError: the file is missing or does not hold a config.
    """
    path = project.root / BUILT_CONF / f"{variant}.yaml"
    try:
        tree: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: is missing; `lenet compose` writes it") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not readable as YAML; `lenet compose` writes it anew") from error
    return parse_config({**tree, "seed": seed} if isinstance(tree, dict) else tree)
