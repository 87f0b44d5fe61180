"""The project's registered model: its versions by name, and the network behind each, checked before it is loaded."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from lenet.config.schema import Config, parse_config
from lenet.core.atomic_io import check_digest, read_json
from lenet.core.errors import ConfigError, DamagedError, LenetError
from lenet.core.paths import REGISTRATION
from lenet.core.project import Project
from lenet.core.yaml_loader import read_yaml
from lenet.evaluation.trained_model import WEIGHTS, TrainedModel, from_run
from lenet.registry.manifest import MODEL_TAG, verify_manifest
from lenet.registry.provenance import MODEL_ID_TAG, check_provenance
from lenet.registry.versions import Version, download_source, local_source, logged_source, read_versions
from lenet.runs.run_dir import FINISHED, RunDir
from lenet.tracking.destination import requested_destination
from lenet.tracking.store import WEIGHTS_TAG, database_path, shown_uri, tracking_uri

CONFIG = "config.yaml"
PROVENANCE = ("lenet.fingerprint", "lenet.data_digest", WEIGHTS_TAG, MODEL_TAG)
"""Tags without which nobody can say where a version comes from; each a sha256."""

REMEDY = "restore it from a backup, or `lenet register` makes a new version of the chosen run"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def registry_uri(project: Project) -> str:
    """Return the URI of the store whose registry the project uses: that of the run that was registered last.

    A fresh clone has no run folders, and finds it in results/registration.json.
    """
    try:
        known = read_json(project.root / REGISTRATION)
    except (FileNotFoundError, DamagedError):
        return tracking_uri(project)
    try:
        return requested_destination(project, RunDir(project.runs / known["run"]).identity())[0]
    except (FileNotFoundError, DamagedError):
        return tracking_uri(project, known.get("tracking_uri"))


def shown_store(project: Project, uri: str) -> str:
    """Return the store as people and the history know it: no password, and the home's own database by its name."""
    path = database_path(uri)
    if path is not None and path.is_relative_to(project.home):
        return str(path.relative_to(project.home))
    return shown_uri(uri)


class RegisteredModel:
    """A registered model as it was when it was last looked at; a context, for what it downloads.

    Args:
        project: where things are.
        model: the registered model's name.
        uri: the store, a relative SQLite path taken from the home; default: the project's.
    """

    def __init__(self, project: Project, model: str, uri: str | None = None) -> None:
        self.project = project
        self.model = model
        self.uri = tracking_uri(project, uri) if uri else registry_uri(project)
        self._versions: list[Version] | None = None
        self._stack = ExitStack()
        self._downloaded: dict[str, Path] = {}

    def __enter__(self) -> RegisteredModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def store(self) -> str:
        """The store as people know it."""
        return shown_store(self.project, self.uri)

    def other(self, model: str) -> RegisteredModel:
        """Return the shelf of another model in the same store, which is closed with this one."""
        return self._stack.enter_context(RegisteredModel(self.project, model, self.uri))

    @property
    def versions(self) -> list[Version]:
        """The versions, oldest first, read when they are first asked for: two runs are compared without a server."""
        if self._versions is None:
            self._versions = read_versions(self.project, self.uri, self.model)
        return self._versions

    def look(self) -> None:
        """Have the versions and their aliases read again."""
        self._versions = None

    def holder(self, alias: str) -> Version | None:
        """Return the version that an alias points to."""
        return next((version for version in self.versions if alias in version.aliases), None)

    def of_run(self, fingerprint: str, weights_sha256: str) -> list[Version]:
        """Return a network's versions, oldest first: those with its run's fingerprint or its weights.

        Trained again on another processor, a run gives weights that differ in the last bits and answer alike.
        """
        return [
            one
            for one in self.versions
            if one.weights_sha256 == weights_sha256 or (fingerprint and one.fingerprint == fingerprint)
        ]

    def numbered(self, number: str) -> Version | None:
        """Return the version with a number."""
        return next((version for version in self.versions if version.number == number), None)

    def named(self, name: str) -> Version | None:
        """Return the version with a number, `3`, or an alias, `@champion`; the model's name may stand before it."""
        short = name.removeprefix(self.model).removeprefix("/")
        return self.holder(short[1:]) if short.startswith("@") else self.numbered(short)

    def find(self, name: str) -> Version:
        """Return the version that `named` does.

        Raises:
            LenetError: there is none.
        """
        found = self.named(name)
        if found is None:
            known = ", ".join([one.number for one in self.versions]) or "none"
            raise LenetError(f"{name}: no version of {self.model} is called so; there are {known} (`lenet registry`)")
        return found

    def check(self, version: Version) -> TrainedModel:
        """Return a version's network, after checking where it comes from and every byte of it.

        Raises:
            DamagedError: lenet did not register it, or its files or what its run says are not what was registered.
            LenetError: the store cannot be reached, or another version of lenet trained it.
        """
        for name in PROVENANCE:
            if not _SHA256.fullmatch(version.tags.get(name, "")):
                raise DamagedError(
                    f"{version.label}: its tag {name} is no sha256; only `lenet register` makes versions"
                )
        self._check_source(version)
        packed = self._folder(version)
        manifest = verify_manifest(packed, version.tags[MODEL_TAG], f"{version.label} is refused; {REMEDY}")
        check_provenance(packed, manifest, version.tags, version.label, REMEDY)
        if manifest.get(WEIGHTS) != version.weights_sha256 or CONFIG not in manifest:
            raise DamagedError(f"{version.label}: its weights are not those of its tag {WEIGHTS_TAG}; {REMEDY}")
        self._check_run(version)
        return TrainedModel(
            version.title,
            _read_config(packed / CONFIG),
            version.fingerprint,
            version.tags["lenet.data_digest"],
            packed / WEIGHTS,
            version.weights_sha256,
        )

    def network(self, version: Version, tell: Callable[[str], None]) -> TrainedModel:
        """Return a version's network to be scored, from its run's folder where its own files are damaged.

        Raises:
            DamagedError, LenetError: as `check`, and the run's folder does not help.
        """
        try:
            return self.check(version)
        except DamagedError as error:
            folder = RunDir(self.project.runs / version.fingerprint)
            if not version.fingerprint or folder.state() != FINISHED:
                raise
            check_digest(folder.path / WEIGHTS, version.weights_sha256, str(error))
            tell(f"{error}; read from runs/{folder.short}… instead")
            return replace(from_run(folder), name=version.title)

    def _check_source(self, version: Version) -> None:
        """See that a version's files are those that its store keeps for its logged model, and no copy elsewhere."""
        kept = logged_source(self.project, self.uri, version.tags.get(MODEL_ID_TAG, ""))
        if kept is None or version.source.rstrip("/") != kept.rstrip("/"):
            raise DamagedError(f"{version.label}: its files are not where it was registered; {REMEDY}")

    def _folder(self, version: Version) -> Path:
        """Return a version's model folder on this machine, copied here where it lies on a server."""
        here = local_source(version)
        if here is not None:
            return here
        if version.number not in self._downloaded:
            into = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._downloaded[version.number] = download_source(version, self.uri, into)
        return self._downloaded[version.number]

    def _check_run(self, version: Version) -> None:
        """Compare a version's data digest, which is part of its run's fingerprint, with that of the run's folder here.

        Not the weights: a run that was trained here too may differ from it in the last bits.
        """
        folder = RunDir(self.project.runs / version.fingerprint)
        if folder.state() == FINISHED and folder.identity()["data_digest"] != version.tags["lenet.data_digest"]:
            raise DamagedError(f"{version.label}: its tag lenet.data_digest is not that of its run; {REMEDY}")


def _read_config(path: Path) -> Config:
    try:
        return parse_config(read_yaml(path))
    except ConfigError as error:
        raise LenetError(f"{path}: was trained by another version of lenet, use that one: {error}") from error
