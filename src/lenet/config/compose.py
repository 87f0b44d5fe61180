"""Compose conf/ with overrides into a Config, as Hydra does."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from lenet.config.hydra_errors import first_lines, translate_hydra_errors
from lenet.config.schema import Config, parse_config
from lenet.core.errors import ConfigError
from lenet.core.project import Project

CONFIG_NAME = "config"
VERSION_BASE = "1.3"


def compose(project: Project, overrides: Sequence[str]) -> Config:
    """Compose conf/config.yaml with overrides, as `python train.py` does.

    Raises:
        ConfigError: an override or a file in conf/ says something that is not allowed.
    """
    return parse_config(compose_tree(project, overrides))


def compose_tree(project: Project, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose conf/config.yaml with overrides into a plain tree, not validated yet.

    Raises:
        ConfigError: an override names what is not there, or a file in conf/ cannot be read.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    register_resolvers(project)
    with (
        translate_hydra_errors(project.conf, overrides),
        initialize_config_dir(str(project.conf), version_base=VERSION_BASE),
    ):
        return _plain(hydra_compose(CONFIG_NAME, overrides=list(overrides)))


def register_resolvers(project: Project) -> None:
    """Register the OmegaConf resolvers that conf/config.yaml uses."""
    from omegaconf import OmegaConf

    # Drawn at random, as process ids are not unique where containers share a home; Hydra hands it on to all jobs of a
    # sweep, whatever process they run in.
    OmegaConf.register_new_resolver("lenet.sweep_id", lambda: secrets.token_hex(16), replace=True, use_cache=True)
    OmegaConf.register_new_resolver("lenet.sweeps", lambda sweep_id: str(project.sweep(sweep_id)), replace=True)
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
        raise ConfigError(first_lines(error)) from error
    if "experiment" in plain:
        raise ConfigError("conf/experiment: the chosen file must open with the line `# @package _global_`")
    return dict(plain)
