"""The project's registered model: its versions by number, alias or run, each verified before it is loaded."""

from __future__ import annotations

import logging
import re
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import check_digest, read_json
from lenet.core.errors import ConfigError, DamagedError, LenetError
from lenet.core.paths import REGISTRATION
from lenet.core.project import Project
from lenet.core.urls import without_password
from lenet.core.yaml_loader import read_yaml
from lenet.evaluation.trained_model import WEIGHTS, TrainedModel, from_run
from lenet.registry.manifest import MODEL_ID_TAG, MODEL_TAG, verify_manifest
from lenet.registry.versions import WEIGHTS_TAG, Version, download, read_versions
from lenet.runs.run_dir import FINISHED, SHORT, RunDir, all_runs, find_run
from lenet.tracking.destination import requested_destination
from lenet.tracking.store import tracking_uri
from lenet.tracking.store_errors import database_path

logger = logging.getLogger(__name__)

CONFIG = "config.yaml"
DIGEST_TAGS = ("lenet.fingerprint", "lenet.data_digest", WEIGHTS_TAG, MODEL_TAG)
"""Tags that every registered version has; each a sha256."""

REMEDY = "restore it from a backup, or `lenet register` makes a new version of the chosen run"
VERSION_DIGITS = 3
"""A number of so many digits or fewer names a version; a longer one is the start of a fingerprint."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT_START = re.compile(r"[0-9a-f]+")
_VERSION = re.compile(rf"(?P<model>[^/@:]*)(@\w+|/\d+)|\d{{1,{VERSION_DIGITS}}}")


class UnknownModelError(LenetError):
    """No run and no registered version has the name that was given."""


def registry_uri(project: Project) -> str:
    """Return the URI of the project's registry: the store of the run that was registered last.

    A fresh clone has no run directories; it reads the URI in results/registration.json.
    """
    try:
        known = read_json(project.root / REGISTRATION)
    except (FileNotFoundError, DamagedError):
        return tracking_uri(project)
    try:
        return requested_destination(project, RunDir(project.runs / known["run"]).identity())[0]
    except (FileNotFoundError, DamagedError):
        return tracking_uri(project, known.get("tracking_uri"))


class RegisteredModel:
    """A registered model with its versions as they were when they were last read.

    A context manager: it deletes the versions' files that it downloaded.

    Args:
        project: the project.
        name: name of the registered model.
        uri: the MLflow store, a relative SQLite path taken from the home; default: the project's registry.
    """

    def __init__(self, project: Project, name: str, uri: str | None = None) -> None:
        self.project = project
        self.name = name
        self.uri = tracking_uri(project, uri) if uri else registry_uri(project)
        self._versions: list[Version] | None = None
        self._stack = ExitStack()
        self._downloads: dict[str, Path] = {}

    def __enter__(self) -> RegisteredModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def store(self) -> str:
        """The store as messages and the history name it: no password, a database in the home by its relative path."""
        path = database_path(self.uri)
        if path is not None and path.is_relative_to(self.project.home):
            return str(path.relative_to(self.project.home))
        return without_password(self.uri)

    @property
    def versions(self) -> list[Version]:
        """The versions, oldest first, read at the first use: a comparison of two runs needs no server."""
        if self._versions is None:
            self._versions = read_versions(self.project, self.uri, self.name)
        return self._versions

    def refresh(self) -> None:
        """Read the versions and their aliases again at the next use."""
        self._versions = None

    def by_alias(self, alias: str) -> Version | None:
        """Return the version that an alias points to."""
        return next((version for version in self.versions if alias in version.aliases), None)

    def by_number(self, number: str) -> Version | None:
        """Return the version with a number."""
        return next((version for version in self.versions if version.number == number), None)

    def by_run(self, fingerprint: str, weights_sha256: str) -> list[Version]:
        """Return the versions of a run or of its weights, oldest first.

        Trained again on another processor, a run's weights may differ in the last bits; its fingerprint does not.
        """
        return [
            one
            for one in self.versions
            if one.weights_sha256 == weights_sha256 or (fingerprint and one.fingerprint == fingerprint)
        ]

    def find_version(self, name: str) -> Version:
        """Return a version by its number, `3`, or its alias, `@champion`; the model's name may stand before it.

        Raises:
            UnknownModelError: there is none.
        """
        short = name.removeprefix(self.name).removeprefix("/")
        found = self.by_alias(short[1:]) if short.startswith("@") else self.by_number(short)
        if found is None:
            known = ", ".join(one.number for one in self.versions) or "none"
            raise UnknownModelError(f"{name}: is no version of {self.name}; its versions: {known} (`lenet registry`)")
        return found

    def find_model(self, name: str) -> TrainedModel:
        """Return the trained network that a user names: a registered version, or the start of a run's fingerprint.

        Args:
            name: `3`, `@champion`, `lenet5/3`, `lenet5@champion`, or the start of a fingerprint: of a run whose
                directory is here, otherwise of a registered version.

        Raises:
            UnknownModelError: there is no such network.
            LenetError: it is not what was registered, the run is not finished, or the store cannot be reached.
        """
        version_name = _VERSION.fullmatch(name)
        if version_name:
            model = version_name["model"]
            other = RegisteredModel(self.project, model, self.uri) if model and model != self.name else None
            owner = self._stack.enter_context(other) if other else self
            return owner.load(owner.find_version(name))
        if not _FINGERPRINT_START.fullmatch(name):
            raise UnknownModelError(f"{name}: give the start of a run's fingerprint, or a version: 3, @champion")
        if any(folder.fingerprint.startswith(name) for folder in all_runs(self.project)):
            return from_run(find_run(self.project, name))
        found = [one for one in self.versions if one.fingerprint.startswith(name)]
        fingerprints = sorted({one.fingerprint[:SHORT] for one in found})
        if len(fingerprints) != 1:
            what = f"begins {len(fingerprints)} fingerprints ({', '.join(fingerprints)})" if found else "is unknown"
            raise UnknownModelError(
                f"{name}: {what}; `lenet runs` lists the runs, `lenet registry` the versions of {self.name}"
            )
        for version in found[:-1]:
            try:
                return self.load(version)
            except DamagedError as error:  # the same weights may have been registered again
                logger.warning(str(error))
        return self.load(found[-1])

    def verify(self, version: Version) -> TrainedModel:
        """Return a version's network after checking its origin and the sha256 of each of its files.

        Raises:
            DamagedError: lenet did not register it, or its files, its tags or its run are not what was registered.
            LenetError: the store cannot be reached, or another version of lenet trained it.
        """
        tags = version.tags
        for name in DIGEST_TAGS:
            if not _SHA256.fullmatch(tags.get(name, "")):
                raise DamagedError(
                    f"{version.label}: its tag {name} is no sha256; only `lenet register` makes versions"
                )
        if not version.source.rstrip("/").endswith(f"/models/{tags.get(MODEL_ID_TAG)}/artifacts"):
            raise DamagedError(f"{version.label}: its files are not those of its logged model in MLflow; {REMEDY}")
        folder = self._local_files(version)
        files = verify_manifest(folder, tags, f"{version.label} is refused; {REMEDY}")
        if files.get(WEIGHTS) != version.weights_sha256 or CONFIG not in files:
            raise DamagedError(f"{version.label}: its weights are not those of its tag {WEIGHTS_TAG}; {REMEDY}")
        run = RunDir(self.project.runs / version.fingerprint)
        if run.state() == FINISHED and run.identity()["data_digest"] != tags["lenet.data_digest"]:
            raise DamagedError(f"{version.label}: its tag lenet.data_digest is not that of its run; {REMEDY}")
        return TrainedModel(
            name=version.title,
            config=_read_config(folder / CONFIG),
            fingerprint=version.fingerprint,
            data_digest=tags["lenet.data_digest"],
            weights=folder / WEIGHTS,
            weights_sha256=version.weights_sha256,
        )

    def load(self, version: Version) -> TrainedModel:
        """Return a version's verified network; from its run directory where its own files are damaged.

        Raises:
            DamagedError, LenetError: as `verify`, and the run directory does not have the registered weights.
        """
        try:
            return self.verify(version)
        except DamagedError as error:
            run = RunDir(self.project.runs / version.fingerprint)
            if not version.fingerprint or run.state() != FINISHED:
                raise
            check_digest(run.path / WEIGHTS, version.weights_sha256, str(error))
            logger.warning(f"{error}; its weights are read from runs/{run.short}… instead")
            return replace(from_run(run), name=version.title)

    def _local_files(self, version: Version) -> Path:
        """Return the folder with a version's files, downloaded where it lies on a server."""
        if version.local_folder is not None:
            return version.local_folder
        if version.number not in self._downloads:
            into = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._downloads[version.number] = download(version, self.uri, into)
        return self._downloads[version.number]


def _read_config(path: Path) -> Config:
    try:
        return parse_config(read_yaml(path))
    except ConfigError as error:
        raise LenetError(f"{path}: was trained by another version of lenet, use that one: {error}") from error
