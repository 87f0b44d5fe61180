"""Files from a web address, whatever the server does: nothing, drips, lies, redirects, other bytes.

The network is read by a thread of its own. A name's look-up, a connection to each of a name's addresses in turn and a
response's headers have no time limit of their own in `requests`; waiting for a thread has one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, Full, Queue
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
"""Longest wait for one address to accept a connection."""

RESPONSE_SECONDS = 8.0
"""Longest wait for a response to begin, with look-ups, connections and redirects."""

STALL_SECONDS = 15.0
"""Longest silence once a response has begun."""

GRACE_SECONDS = 20.0
"""After so long a download has to have the least rate."""

MIN_BYTES_A_SECOND = 10_000
FILE_SECONDS = 1800.0
"""Longest download of one file."""

REDIRECT_LIMIT = 5
QUEUED_BLOCKS = 16
STOP_CHECK_SECONDS = 0.5
HTTP_OK = 200
HTTP_REFUSALS = range(400, 500)
"""Responses that say: this file is not to be had here; the others may be."""


@dataclass(frozen=True)
class _Began:
    total: int | None


@dataclass(frozen=True)
class _Ended:
    error: SourceError | None


_Queue = Queue[_Began | bytes | _Ended]


@contextmanager
def open_mirror(source: MirrorConfig) -> Iterator[Reader]:
    """Read files from a mirror; an address that ends in `.gz` is unpacked.

    Raises:
        SourceGoneError: (when read) the server does not answer, or no faster than the limits of this module.
        SourceError: (when read) it does not have the file, or sends it broken.
    """

    def read(_role: str, file: FileConfig) -> Iterator[bytes]:
        url = source.url.replace("{file}", file.name)
        blocks = _download(url, file.name)
        yield from unpacked(blocks) if url.endswith(".gz") else blocks

    yield read


def _download(url: str, title: str) -> Iterator[bytes]:
    queue: _Queue = Queue(QUEUED_BLOCKS)
    stop = threading.Event()
    threading.Thread(target=_pump, args=(url, queue, stop), daemon=True, name=f"download {title}").start()
    try:
        with transfer_bar(title) as show:
            start, received, total = monotonic(), 0, None
            item = _next(queue, RESPONSE_SECONDS, "does not answer")
            while not isinstance(item, _Ended):
                if isinstance(item, _Began):
                    total = item.total
                else:
                    received += len(item)
                    _check_limits(title, received, monotonic() - start)
                    show(received, total)
                    yield item
                item = _next(queue, STALL_SECONDS, f"falls silent after {received} bytes of {title}")
            if item.error:
                raise item.error
    finally:
        stop.set()


def _next(queue: _Queue, seconds: float, complaint: str) -> _Began | bytes | _Ended:
    try:
        return queue.get(timeout=seconds)
    except Empty:
        raise SourceUnavailableError(f"{complaint} (waited {seconds:g} s)") from None


def _check_limits(title: str, received: int, seconds: float) -> None:
    if received > FILE_BYTES_LIMIT:
        raise SourceError(f"{title} is more than {FILE_BYTES_LIMIT} bytes")
    if seconds > FILE_SECONDS:
        raise SourceUnavailableError(f"{title} takes more than {FILE_SECONDS:g} s")
    if seconds > GRACE_SECONDS and received < MIN_BYTES_A_SECOND * seconds:
        raise SourceUnavailableError(f"is too slow ({received} bytes of {title} in {seconds:.0f} s)")


def _pump(url: str, queue: _Queue, stop: threading.Event) -> None:
    """Put a response's beginning, its blocks and its end into the queue, until the reader has stopped."""
    import requests
    from urllib3.exceptions import HTTPError

    error: SourceError | None = None
    try:
        for item in _respond(url):
            if not _put(item, queue, stop):
                return
    except SourceError as failed:
        error = failed
    except requests.TooManyRedirects:
        error = SourceError(f"redirects more than {REDIRECT_LIMIT} times")
    except (requests.ConnectionError, requests.Timeout) as failed:
        error = SourceUnavailableError(f"does not answer ({_innermost(failed)})")
    except (requests.RequestException, HTTPError, OSError, ValueError) as failed:
        error = SourceError(f"breaks off ({_innermost(failed)})")
    _put(_Ended(error), queue, stop)


def _respond(url: str) -> Iterator[_Began | bytes]:
    import requests

    with requests.Session() as session:
        session.max_redirects = REDIRECT_LIMIT
        # Some servers pack what is packed already; the file is wanted as it lies there.
        headers = {"Accept-Encoding": "identity"}
        timeout = (CONNECT_SECONDS, STALL_SECONDS)
        with session.get(url, stream=True, timeout=timeout, headers=headers) as response:
            _check_status(response.status_code)
            length = response.headers.get("Content-Length", "")
            yield _Began(int(length) if length.isdecimal() else None)
            # read1 gives what has arrived; read and iter_content would wait for a full block of a dripping server.
            while block := response.raw.read1(BLOCK_BYTES, decode_content=False):
                yield block


def _put(item: _Began | bytes | _Ended, queue: _Queue, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            queue.put(item, timeout=STOP_CHECK_SECONDS)
        except Full:
            continue
        return True
    return False


def _check_status(status: int) -> None:
    if status in HTTP_REFUSALS:
        raise SourceError(f"does not have the file (HTTP {status})")
    if status != HTTP_OK:
        raise SourceUnavailableError(f"answers with HTTP {status}")


def _innermost(error: BaseException) -> str:
    """Return the type of the error that began it: its text is long, and says the address once more."""
    within = [cause for cause in (getattr(error, "reason", None), *error.args) if isinstance(cause, BaseException)]
    return _innermost(within[0]) if within else type(error).__name__
