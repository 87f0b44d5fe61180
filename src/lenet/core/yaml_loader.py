"""Reading YAML as Hydra reads conf/: `2e-1` is a number, a date is a text, and no key may come twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lenet.core.errors import ConfigError


def parse_yaml(text: str) -> Any:
    """Return the value that a YAML text stands for; interpolations stay as they are written.

    Raises:
        ConfigError: it is not YAML.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        # The one public way to OmegaConf's loader that takes any value, not tables alone.
        tree: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)
    except (YAMLError, OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(f"not readable as YAML: {' '.join(str(error).split())}") from error
    return tree["value"]


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        ConfigError: it is not YAML, or not UTF-8.
        FileNotFoundError: there is no such file.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
