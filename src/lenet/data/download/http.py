"""Files from a web address, with limits on waiting, time and size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from lenet.config.data_sources import FileConfig, MirrorConfig
from lenet.data.download.progress import transfer_bar
from lenet.data.download.stream import (
    BLOCK_BYTES,
    FILE_BYTES_LIMIT,
    Reader,
    SourceError,
    SourceUnavailableError,
    unpacked,
)

CONNECT_SECONDS = 4.0
"""Longest wait for an address to accept a connection."""

STALL_SECONDS = 15.0
"""Longest silence of a server that accepted it."""

FILE_SECONDS = 1800.0
"""Longest download of one file."""

REDIRECT_LIMIT = 5
HTTP_OK = 200
HTTP_REFUSALS = range(400, 500)
"""Statuses that concern this file alone; the others may be there."""


@contextmanager
def open_mirror(source: MirrorConfig) -> Iterator[Reader]:
    """Read files from a mirror; an address that ends in `.gz` is unpacked.

    Raises:
        SourceUnavailableError: (when read) the server does not answer, or is slower than the limits of this module.
        SourceError: (when read) it does not have the file, or sends it broken.
    """

    def read(_role: str, file: FileConfig) -> Iterator[bytes]:
        url = source.url.replace("{file}", file.name)
        blocks = _download(url, file.name)
        yield from unpacked(blocks) if url.endswith(".gz") else blocks

    yield read


def _download(url: str, title: str) -> Iterator[bytes]:
    import requests
    from urllib3.exceptions import HTTPError

    try:
        yield from _blocks(url, title)
    except SourceError:
        raise
    except requests.TooManyRedirects as error:
        raise SourceError(f"redirects more than {REDIRECT_LIMIT} times") from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise SourceUnavailableError(f"does not answer ({_innermost(error)})") from error
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        raise SourceError(f"breaks off ({_innermost(error)})") from error


def _blocks(url: str, title: str) -> Iterator[bytes]:
    import requests

    # Some servers pack what is packed already; the file is wanted as it lies there.
    headers = {"Accept-Encoding": "identity"}
    timeout = (CONNECT_SECONDS, STALL_SECONDS)
    start, received = monotonic(), 0
    with requests.Session() as session, transfer_bar(title) as show:
        session.max_redirects = REDIRECT_LIMIT
        with session.get(url, stream=True, timeout=timeout, headers=headers) as response:
            if response.status_code in HTTP_REFUSALS:
                raise SourceError(f"does not have the file (HTTP {response.status_code})")
            if response.status_code != HTTP_OK:
                raise SourceUnavailableError(f"answers with HTTP {response.status_code}")
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            # read1 gives what has arrived; read and iter_content would wait for a full block of a slow server.
            while block := response.raw.read1(BLOCK_BYTES, decode_content=False):
                received += len(block)
                _check_limits(title, received, monotonic() - start)
                show(received, total)
                yield block


def _check_limits(title: str, received: int, seconds: float) -> None:
    if received > FILE_BYTES_LIMIT:
        raise SourceError(f"{title} is more than {FILE_BYTES_LIMIT} bytes")
    if seconds > FILE_SECONDS:
        raise SourceUnavailableError(f"{title} takes more than {FILE_SECONDS:g} s")


def _innermost(error: BaseException) -> str:
    """Return the type of the error that began it: its text is long, and says the address once more."""
    within = [cause for cause in (getattr(error, "reason", None), *error.args) if isinstance(cause, BaseException)]
    return _innermost(within[0]) if within else type(error).__name__
