"""What goes wrong between here and an MLflow store, each time as one line that says what to do."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lenet.core.errors import LenetError
from lenet.core.urls import TRACKING_VARIABLE, without_password

SQLITE = "sqlite:///"
HTTP = ("http", "https")

ACCOUNT_VARIABLES = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
DENIED = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
"""HTTP statuses of a missing right, and MLflow's error codes for them."""

UNAVAILABLE, REFUSED = "TEMPORARILY_UNAVAILABLE", "INVALID_PARAMETER_VALUE"
"""MLflow's error codes of a store that cannot answer now, and of a value that it does not take."""

BODY = "Response body:"
"""In MLflow's messages, before what a server answered."""

MAX_CHARACTERS = 160
"""Of a store's own message; MLflow lists what it supports, and servers answer with whole pages."""

SQLITE_REMEDIES = {
    "disk is full": "make room (`lenet clean` lists runs that can go)",
    "disk I/O error": "make room, or check the disk",
    "is locked": "wait for the process that holds it",
    "readonly": "check the permissions of the file and its folder",
    "unable to open": "check the permissions of the file and its folder",
}
"""By SQLite's message, the remedy where the file itself is whole."""

HTTP_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # MLflow's own 7 are minutes, for which a command would wait at its end
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # one line a file in a log of CI
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where a command's result goes
}


class StoreAwayError(LenetError):
    """A store does not answer, or is not MLflow: every other request to it will fail alike."""


def database_path(uri: str) -> Path | None:
    """Return the file of an SQLite store, or None for any other."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def set_http_defaults() -> None:
    """Set MLflow's retries and timeouts where the user has not; MLflow reads them when it is imported."""
    for name, value in HTTP_DEFAULTS.items():
        os.environ.setdefault(name, value)


def store_failures() -> tuple[type[Exception], ...]:
    """Return what MLflow raises where a store is away, refuses, or is not MLflow."""
    set_http_defaults()
    from google.protobuf.json_format import ParseError
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, RequestException, SQLAlchemyError, ParseError, json.JSONDecodeError


@contextmanager
def store_errors(uri: str, remedy: str) -> Iterator[None]:
    """Turn a store's errors within the block into LenetErrors that end with what to do first, and then `remedy`.

    Raises:
        StoreAwayError: the store does not answer, or not as MLflow does.
        LenetError: it refuses.
    """
    failures = store_failures()
    try:
        yield
    except failures as error:
        kind = StoreAwayError if _is_silent(error) or _is_foreign(error) else LenetError
        uri = without_password(uri)
        raise kind(f"MLflow at {uri}: {reason(error)}; {_first_step(uri, error)} and {remedy}") from error


def reason(error: Exception) -> str:
    """Return a store's error in a few words, without passwords, pages and lists."""
    text = without_password(str(error)) or type(error).__name__
    if getattr(error, "response", None) is None and _is_silent(error):
        cause = re.search(r"\[Errno -?\d+\] [\w ]+|too many \d+ error responses", text)
        return f"does not answer ({cause[0] if cause else type(error.__context__ or error).__name__})"
    message, body, answer = text.partition(BODY)
    if body and answer.lstrip(" '\"").startswith("<"):
        text = f"{message} it answered with a web page, which MLflow does not"
    line = " ".join(text.splitlines()[0].split())
    return line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]}…"


def unusable(uri: str, error: Exception) -> str:
    """Return the line about a store that MLflow cannot open."""
    remedy = f"name another in tracking.uri or {TRACKING_VARIABLE}"
    if database_path(uri) is not None:
        remedy = _sqlite_remedy(error) or "move the file away, `lenet sync` fills a new one from the run directories"
    return f"{without_password(uri)}: MLflow cannot open this store ({reason(error)}); {remedy}"


def _first_step(uri: str, error: Exception) -> str:
    if _is_denied(error):
        return f"the account lacks the right: set {ACCOUNT_VARIABLES} to one that has it"
    if database_path(uri) is not None and getattr(error, "error_code", "") != REFUSED:
        return _sqlite_remedy(error) or "check the file"
    if _is_foreign(error):
        return "check that it is an MLflow server"
    return "start it" if _is_silent(error) else "correct that"


def _sqlite_remedy(error: Exception) -> str:
    return next((remedy for text, remedy in SQLITE_REMEDIES.items() if text in str(error)), "")


def _is_silent(error: Exception) -> bool:
    """Say whether nothing answered, or a server that cannot now."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if isinstance(error, MlflowException):  # it repeats the text of what it caught
        return isinstance(error.__context__, RequestException) or error.error_code == UNAVAILABLE
    return isinstance(error, RequestException) and not _is_foreign(error)


def _is_foreign(error: Exception) -> bool:
    """Say whether the answer is not MLflow's, but a proxy's or another service's."""
    from google.protobuf.json_format import ParseError

    is_foreign = isinstance(error, ParseError | json.JSONDecodeError) or BODY in str(error)
    return is_foreign and not _is_denied(error) and getattr(error, "error_code", "") != UNAVAILABLE


def _is_denied(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in DENIED.values()
    return getattr(getattr(error, "response", None), "status_code", None) in DENIED
