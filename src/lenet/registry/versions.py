"""The versions of a registered model, read from the MLflow store, and the folder of files behind each."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lenet.core.errors import DamagedError, LenetError
from lenet.core.project import Project
from lenet.core.urls import with_password, without_password
from lenet.tracking.relocation import current_uri, local_path, moved_roots
from lenet.tracking.sqlite_store import READ_SECONDS
from lenet.tracking.store import open_store
from lenet.tracking.store_errors import database_path, reason, set_http_defaults, store_errors

WEIGHTS_TAG = "lenet.weights_sha256"
"""Tag of a version that identifies it."""

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
MILLISECONDS = 1000
STORE_SCHEMES = ("file:", "mlflow-artifacts:", "models:", "runs:", "/")
"""How the address of a folder begins that the store itself serves."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model, as it was when it was read.

    Attributes:
        model: name of the registered model.
        number: the version's number, as text.
        aliases: the aliases that point to it, sorted.
        tags: its tags.
        source: URI of the folder with its files.
        run_id: the MLflow run that trained it.
        created: when it was registered, in seconds since 1970.
        description: its model card in Markdown, or one line with the name of its run.
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
        """Model and number, such as `lenet5 version 3`."""
        return f"{self.model} version {self.number}"

    @property
    def title(self) -> str:
        """The label and the name of its run: `lenet5 version 3 (relu seed=1)`."""
        return f"{self.label} ({self.run_name})" if self.run_name else self.label

    @property
    def run_name(self) -> str:
        """Name of its run, such as `relu seed=1`."""
        if len(self.description.splitlines()) == 1:
            return self.description
        variant, seed = self.tags.get("lenet.variant", ""), self.tags.get("lenet.seed", "")
        return f"{variant} seed={seed}" if variant else ""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of its run; empty where lenet did not register it."""
        return self.tags.get("lenet.fingerprint", "")

    @property
    def weights_sha256(self) -> str:
        """Digest of its weights file; empty where lenet did not register it."""
        return self.tags.get(WEIGHTS_TAG, "")

    @property
    def local_folder(self) -> Path | None:
        """The folder with its files where it lies on this machine."""
        return local_path(self.source)


def read_versions(project: Project, uri: str, model: str) -> list[Version]:
    """Return a registered model's versions, oldest first; an unknown model has none.

    Raises:
        LenetError: the store cannot be reached.
    """
    path = database_path(uri)
    if path is not None:
        if not path.is_file():
            return []
        try:
            return _read_database(path, model)
        except sqlite3.Error:  # busy, or the schema of another version of MLflow: the client knows
            pass
    with store_errors(uri, "run the command again"):
        return _read_client(project, uri, model)


# SQL in place of the client: the versions are read in 2 ms, by the client in 3 to 6 s (importing mlflow 2.5 s, opening
# the store the rest), which `lenet registry` and a sync that finds nothing to do would pay.
_VERSIONS = (
    "select version, coalesce(storage_location, source), run_id, creation_time, description from model_versions"
    " where name = ? and status = 'READY' and current_stage != 'Deleted_Internal' order by version"
)


def _read_database(path: Path, model: str) -> list[Version]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=READ_SECONDS)) as connection:
        connection.execute("begin")  # one state of all tables
        rows = connection.execute(_VERSIONS, (model,)).fetchall()
        tags = connection.execute(
            "select version, key, value from model_version_tags where name = ?", (model,)
        ).fetchall()
        aliases = connection.execute(
            "select version, alias from registered_model_aliases where name = ? order by alias", (model,)
        ).fetchall()
        moves = moved_roots(connection, path)
    return [
        Version(
            model=model,
            number=str(number),
            aliases=tuple(alias for version, alias in aliases if version == number),
            tags={key: value or "" for version, key, value in tags if version == number},
            source=current_uri(source or "", moves),
            run_id=run_id or "",
            created=created / MILLISECONDS,
            description=description or "",
        )
        for number, source, run_id, created, description in rows
    ]


def _read_client(project: Project, uri: str, model: str) -> list[Version]:
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


def download(version: Version, uri: str, into: Path) -> Path:
    """Copy the files of a version from a store to a folder on this machine, and return where they lie; runs none.

    Raises:
        DamagedError: the store does not have them any more.
        LenetError: the store cannot be reached, or the address of the files cannot be read here.
    """
    set_http_defaults()
    import mlflow

    address = with_password(uri)
    is_in_store = version.source.startswith(STORE_SCHEMES)
    try:
        with store_errors(uri, "run the command again") if is_in_store else nullcontext():
            # By its source: MLflow resolves `models:/` in the store that its environment names. Listed first, because a
            # download of a missing folder and one from a store that is away raise the same.
            if mlflow.artifacts.list_artifacts(artifact_uri=version.source, tracking_uri=address):
                return Path(
                    mlflow.artifacts.download_artifacts(
                        artifact_uri=version.source, dst_path=str(into), tracking_uri=address, registry_uri=address
                    )
                )
    except Exception as error:
        if is_in_store:
            raise
        # MLflow imports the client of S3 and the like when it is needed, and each has its own exceptions.
        what = f"needs the package {error.name}" if isinstance(error, ImportError) else reason(error)
        raise LenetError(
            f"{version.label}: its files at {without_password(version.source)} cannot be read here ({what}); make them"
            " readable, or `lenet register` makes a version in the store itself"
        ) from error
    raise DamagedError(
        f"{version.label}: {without_password(uri)} does not have its files any more;"
        " `lenet register` makes a new version"
    )
