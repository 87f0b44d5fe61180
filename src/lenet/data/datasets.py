"""Data sets by name: a file in conf/data is all that makes one."""

from __future__ import annotations

import logging
from pathlib import Path

from lenet.config.schema import DataConfig, check_classes
from lenet.config.validation import closest, parse
from lenet.core.errors import ConfigError
from lenet.core.file_lock import locked
from lenet.core.project import Project
from lenet.core.yaml_loader import read_yaml
from lenet.data.arrays import CARD
from lenet.data.download.fetch import fetch
from lenet.data.image_folder import copy_images
from lenet.data.prepare import prepare

logger = logging.getLogger(__name__)

GROUP = "data"


def load_data_config(conf: Path, name: str) -> DataConfig:
    """Read conf/data/<name>.yaml.

    Args:
        conf: the folder of the Hydra configuration.
        name: the file's name without `.yaml`, which is the data set's name too.

    Raises:
        ConfigError: there is no such file, or it is not a data set's configuration.
    """
    known = sorted(path.stem for path in (conf / GROUP).glob("*.yaml"))
    # Compared with the list, not joined to the path: a name with slashes is unknown, not another file.
    if name not in known:
        raise ConfigError(f"data={name}: must be one of {', '.join(known) or 'none'}{closest(name, known)}")
    path = conf / GROUP / f"{name}.yaml"
    tree = read_yaml(path)
    try:
        data: DataConfig = parse(DataConfig, tree, GROUP)
        check_classes(data.classes)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if data.name != name:
        raise ConfigError(f"{path}: data.name={data.name}: must be {name}, as the file is called")
    return data


def fetch_dataset(project: Project, data: DataConfig, extra_folder: Path | None = None) -> None:
    """Bring a data set's files to data/raw/<name>.

    Args:
        project: where data lives.
        data: the data set.
        extra_folder: a folder that is tried before the config's sources.

    Raises:
        ConfigError: the config does not say where the files come from.
        DataError: the files cannot be had, or are not what they should be.
    """
    raw = project.raw(data.name)
    if data.image_folder is not None:
        with locked(raw.parent / f".{data.name}.lock"):
            copy_images(extra_folder or project.root / data.image_folder, raw, data.classes)
    elif data.origin is not None:
        fetch(data.origin, raw, name=data.name, extra_folder=extra_folder)
    else:
        raise ConfigError(
            f"{project.conf / GROUP / data.name}.yaml: data.origin is missing: nothing says where to fetch {data.name}"
        )


def ensure_prepared(project: Project, name: str) -> Path:
    """Return the folder of the prepared data set, after fetching and preparing it where there is no card yet.

    Raises:
        ConfigError: there is no such data set.
        DataError: its files cannot be had, or are not what they should be.
    """
    prepared = project.prepared(name)
    if (prepared / CARD).is_file():
        return prepared
    data = load_data_config(project.conf, name)
    # Not the lock of `prepare`, which is taken within: a process cannot wait for itself.
    lock = prepared.parent / f".{name}.ensure.lock"
    with locked(lock, lambda holder: logger.info(f"{name}: waiting for process {holder}, which prepares it")):
        if not (prepared / CARD).is_file():
            fetch_dataset(project, data)
            prepare(data, project.raw(name), prepared)
            logger.info(f"{name}: prepared in {prepared}")
    return prepared
