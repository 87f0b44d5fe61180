"""The versions of a registered model, read: from an SQLite store without the seconds that importing mlflow takes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lenet.core.errors import DamagedError, LenetError
from lenet.core.project import Project
from lenet.core.urls import with_password, without_password
from lenet.tracking.relocation import here, moved_roots
from lenet.tracking.store import (
    BUSY_SECONDS,
    WEIGHTS_TAG,
    database_path,
    open_store,
    reason,
    set_http_defaults,
    shown_uri,
    store_errors,
)
from lenet.tracking.uris import local_path

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
MILLISECONDS = 1000
OWN_SOURCES = ("", "file", "mlflow-artifacts", "models", "runs")
"""Schemes of sources that are the store's own business."""

SOURCE_PACKAGES = {"s3": "boto3", "gs": "google-cloud-storage", "wasbs": "azure-storage-blob"}
"""What pip calls the packages of the sources that people use; of others the module's name is told."""

_VERSIONS = (
    "select version, coalesce(storage_location, source), run_id, creation_time, description from model_versions"
    " where name = ? and status = 'READY' and current_stage != 'Deleted_Internal' order by version"
)

_LOGGED = (
    "select e.artifact_location from logged_models m join experiments e on e.experiment_id = m.experiment_id"
    " where m.model_id = ? and m.lifecycle_stage = 'active'"
)


@dataclass(frozen=True)
class Version:
    """A version of a registered model, as it was when it was read.

    Attributes:
        model: the registered model's name.
        number: the version's number, as text.
        aliases: the aliases that point to it, sorted.
        tags: its tags.
        source: URI of its model folder.
        run_id: the MLflow run that trained it.
        created: when it was registered, in seconds since 1970.
        description: its model card, or the name of its run where it has none.
    """

    model: str
    number: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    source: str
    run_id: str
    created: float
    description: str

    @property
    def label(self) -> str:
        """What people call it, such as `lenet5 version 3`."""
        return f"{self.model} version {self.number}"

    @property
    def title(self) -> str:
        """What people call it, and its run: `lenet5 version 3 (lenet5_relu seed=1)`."""
        return f"{self.label} ({self.name})" if self.name else self.label

    @property
    def name(self) -> str:
        """The name of its run, such as `lenet5_relu seed=1`; a model card is no name, the tags say it then."""
        if len(self.description.splitlines()) == 1:
            return self.description
        variant, seed = self.tags.get("lenet.variant", ""), self.tags.get("lenet.seed", "")
        return f"{variant} seed={seed}" if variant else ""

    @property
    def fingerprint(self) -> str:
        """Of the run that trained it; empty where lenet did not register it."""
        return self.tags.get("lenet.fingerprint", "")

    @property
    def weights_sha256(self) -> str:
        """Of its weights file; empty where lenet did not register it."""
        return self.tags.get(WEIGHTS_TAG, "")


def read_versions(project: Project, uri: str, model: str) -> list[Version]:
    """Return a registered model's versions, oldest first; none where the store does not know it.

    Raises:
        LenetError: the store cannot be reached.
    """
    path = database_path(uri)
    if path is not None:
        if not path.is_file():
            return []
        try:
            return _from_database(path, model)
        except sqlite3.Error:  # busy, or of another version of mlflow, which knows best what to say
            pass
    with store_errors(uri, "ask again"):
        return _from_client(project, uri, model)


def _from_database(path: Path, model: str) -> list[Version]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        connection.execute("begin")  # one moment for all three tables
        rows = connection.execute(_VERSIONS, (model,)).fetchall()
        tags = connection.execute("select version, key, value from model_version_tags where name = ?", (model,))
        tags_of: dict[int, dict[str, str]] = {}
        for number, key, value in tags:
            tags_of.setdefault(number, {})[key] = value or ""
        moves = moved_roots(connection, path)
        named = connection.execute("select version, alias from registered_model_aliases where name = ?", (model,))
        aliases_of: dict[int, list[str]] = {}
        for number, alias in named:
            aliases_of.setdefault(number, []).append(alias)
    return [
        Version(
            model=model,
            number=str(number),
            aliases=tuple(sorted(aliases_of.get(number, ()))),
            tags=tags_of.get(number, {}),
            source=here(source or "", moves),
            run_id=run_id or "",
            created=created / MILLISECONDS,
            description=description or "",
        )
        for number, source, run_id, created, description in rows
    ]


def _from_client(project: Project, uri: str, model: str) -> list[Version]:
    from mlflow.exceptions import MlflowException

    client = open_store(project, uri)
    try:
        aliases = client.get_registered_model(model).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    found = client.search_model_versions(f"name = '{model}'")
    return [
        Version(
            model=model,
            number=str(one.version),
            aliases=tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(one.version))),
            tags=dict(one.tags),
            source=one.source or "",
            run_id=one.run_id or "",
            created=one.creation_timestamp / MILLISECONDS,
            description=one.description or "",
        )
        for one in sorted(found, key=lambda one: int(one.version))
        if one.status == "READY"
    ]


def logged_source(project: Project, uri: str, model_id: str) -> str | None:
    """Return where a store keeps the files of a logged model, or None where it does not know it.

    Raises:
        LenetError: the store cannot be reached.
    """
    path = database_path(uri)
    if path is not None:
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
                row = connection.execute(_LOGGED, (model_id,)).fetchone()
                return here(f"{row[0]}/models/{model_id}/artifacts", moved_roots(connection, path)) if row else None
        except sqlite3.Error:  # as in read_versions
            pass
    from mlflow.exceptions import MlflowException

    with store_errors(uri, "ask again"):
        try:
            return str(open_store(project, uri).get_logged_model(model_id).artifact_location)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise


def local_source(version: Version) -> Path | None:
    """Return a version's model folder where it lies on this machine, or None."""
    return local_path(version.source)


def download_source(version: Version, uri: str, into: Path) -> Path:
    """Copy a version's model folder from its store into a folder of this machine, and return where it lies; runs none.

    Raises:
        DamagedError: the store is there and has the folder no more.
        LenetError: the store cannot be reached, or what the source's kind needs is not installed.
    """
    set_http_defaults()
    import mlflow

    address = with_password(uri)
    is_own = urlsplit(version.source).scheme in OWN_SOURCES
    with store_errors(uri, "ask again") if is_own else _source_errors(version):
        # By its source: MLflow looks a `models:/` up in the store of its environment, whichever is named here.
        # Asked for first: what downloading a folder that is not there raises is what a store that is away raises too.
        if not mlflow.artifacts.list_artifacts(artifact_uri=version.source, tracking_uri=address):
            raise DamagedError(
                f"{version.label}: {shown_uri(uri)} has its folder no more; `lenet register` makes it anew"
            )
        return Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=version.source, dst_path=str(into), tracking_uri=address, registry_uri=address
            )
        )


@contextmanager
def _source_errors(version: Version) -> Iterator[None]:
    """Within the block it is one line that a source is no part of the store and cannot be read, and what would help."""
    where = f"{version.label}: its folder is {without_password(version.source)}"
    try:
        yield
    except LenetError:
        raise
    except ImportError as error:  # MLflow imports what speaks to a store of files when it is asked for one
        package = SOURCE_PACKAGES.get(urlsplit(version.source).scheme, error.name)
        raise LenetError(f"{where}, which needs {package}; pip install {package} and ask again") from error
    except Exception as error:
        raise LenetError(
            f"{where}, which cannot be read here ({type(error).__name__}: {reason(error)}); give what it asks for, or"
            " `lenet register` makes a version whose folder lies in the store"
        ) from error
