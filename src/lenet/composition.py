"""Hydra's composition of conf/ into a Config; where Hydra's errors become one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lenet.config import Config, parse_config
from lenet.errors import ConfigError
from lenet.project import Project

CONFIG_NAME = "config"
VERSION_BASE = "1.3"


EXPERIMENT = re.compile(r"^(\+*)experiment=")


def anchored(override: str) -> str:
    """Return `experiment=…` as Hydra names a group whose files speak of the whole config; others as they are."""
    return EXPERIMENT.sub(r"\1experiment@_global_=", override)


def unanchored(override: str) -> str:
    """Return an override as a person types it."""
    return override.replace("experiment@_global_=", "experiment=")


def compose(project: Project, overrides: Sequence[str]) -> Config:
    """Compose conf/config.yaml with overrides, as `python train.py` does.

    Raises:
        ConfigError: an override or a file in conf/ says something that is not allowed.
    """
    return parse_config(compose_tree(project, overrides))


def compose_tree(project: Project, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose conf/config.yaml with overrides into a plain tree that nobody has checked yet.

    Raises:
        ConfigError: an override names what is not there, or a file in conf/ cannot be read.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    register_resolvers(project)
    with one_line_errors(project.conf), initialize_config_dir(str(project.conf), version_base=VERSION_BASE):
        return _plain(hydra_compose(CONFIG_NAME, overrides=[anchored(override) for override in overrides]))


def register_resolvers(project: Project) -> None:
    """Make known to OmegaConf what conf/config.yaml asks of this project."""
    from omegaconf import OmegaConf

    from lenet.sweep import new_sweep_id, sweep_folder

    # Hydra hands what was drawn for a sweep on to all of its jobs, whatever process they run in.
    OmegaConf.register_new_resolver("lenet.sweep_id", new_sweep_id, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("lenet.sweeps", lambda sweep: str(sweep_folder(project, sweep)), replace=True)
    # Hydra warns of a folder in its search path that is not there; conf/ is searched anyway.
    results = project.root / "results" if (project.root / "results").is_dir() else project.conf
    OmegaConf.register_new_resolver("lenet.results", lambda: str(results), replace=True)


def to_config(tree: Any) -> Config:
    """Turn a composed DictConfig into a Config.

    Raises:
        ConfigError: a value is missing or not allowed.
    """
    return parse_config(_plain(tree))


def _plain(tree: Any) -> dict[str, Any]:
    """Return a composed DictConfig as plain values, without what is Hydra's."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        own = OmegaConf.masked_copy(tree, [str(key) for key in tree if key != "hydra"])
        plain: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    return dict(plain)


@contextmanager
def one_line_errors(conf: Path) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML raise into a ConfigError of one line."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(_explain(error, conf)) from error


def _explain(error: Exception, conf: Path) -> str:
    text = unanchored(str(error)).replace("experiment@_global_", "experiment")
    for name, stage in (("searched", "search"), ("refitted", "refit")):
        if f"{stage}/best" in text:
            return f"experiment={name}: no {stage} has left its best recipe yet; `dvc repro {stage}` makes one"
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"{match[1]}: no such key{_suggestion(match[1], conf)}; `python train.py --cfg job` shows them all"
    if match := re.search(r"Could not append to config\. An item is already at '([^']+)'", text):
        return f"+{match[1]}: the key is there already; leave out the +"
    if match := re.search(r"Could not find '([^']+)/([^/']+)'", text):
        options = sorted(path.stem for path in (conf / match[1]).glob("*.yaml"))
        if options:
            return f"{match[1]}={match[2]}: must be one of {', '.join(options)}"
        groups = sorted(path.name for path in conf.iterdir() if path.is_dir())
        return f"{match[1]}: no such group; the groups are {', '.join(groups)}"
    return _first_line(error)


def _suggestion(name: str, conf: Path) -> str:
    near = difflib.get_close_matches(name, sorted(_known_keys(conf, name)), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _known_keys(conf: Path, wrong: str) -> Iterator[str]:
    """Give groups and keys, but not `wrong` itself, which some option that is not chosen may have."""
    from lenet.schema import flatten
    from lenet.yaml_text import read_yaml

    for path in conf.rglob("*.yaml"):
        group = path.relative_to(conf).parts[:-1]
        body = read_yaml(path)
        if group and group != ("experiment",) and isinstance(body, dict):
            yield "/".join(group)
            keys = (".".join((*group, key)) for key, _ in flatten(body))
            yield from (key for key in keys if key != wrong)
    yield from ("experiment", "seed")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines[:2]) if lines else type(error).__name__
