from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from rude_server import Answer, Server, send
from tiny_set import Tiny

from lenet.config.data_sources import FileConfig, MirrorConfig
from lenet.core.atomic_io import sha256_bytes
from lenet.data.download import http as mirror
from lenet.data.download import stream
from lenet.data.download.http import open_mirror
from lenet.data.download.stream import SourceError, SourceUnavailableError, write_checked

NAME = "tiny-train-images"
SOON_SECONDS = 7.0  # of a busy machine; less than any of the patience that mirrors are given


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, seconds in (
        ("CONNECT_SECONDS", 0.5),
        ("STALL_SECONDS", 0.4),
        ("FILE_SECONDS", 2.0),
    ):
        monkeypatch.setattr(mirror, limit, seconds)


def get(url: str, content: bytes, folder: Path) -> bytes:
    """Bring the file NAME, which should hold `content`."""
    file = FileConfig(NAME, sha256_bytes(content))
    with open_mirror(MirrorConfig("mirror", url)) as read:
        write_checked(read("train_images", file), file, folder)
    return (folder / NAME).read_bytes()


def test_plain_and_packed_files_come_whole(server: Server, tiny: Tiny, tmp_path: Path) -> None:
    content = tiny.files[NAME]
    server.answers = {f"/{NAME}": content, f"/{NAME}.gz": gzip.compress(content)}
    assert get(f"{server.url}{{file}}", content, tmp_path) == content
    assert get(f"{server.url}{{file}}.gz", content, tmp_path) == content


def test_a_redirect_is_followed(server: Server, tiny: Tiny, tmp_path: Path) -> None:
    content = tiny.files[NAME]
    server.answers = {f"/{NAME}": redirect("/elsewhere"), "/elsewhere": content}
    assert get(f"{server.url}{{file}}", content, tmp_path) == content


def test_chunks_without_a_length_come_whole(server: Server, tiny: Tiny, tmp_path: Path) -> None:
    content = tiny.files[NAME]

    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(content), 5000):
            block = content[start : start + 5000]
            handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    server.answers = {f"/{NAME}": chunked}
    assert get(f"{server.url}{{file}}", content, tmp_path) == content


def test_a_transport_encoding_nobody_asked_for_is_left_alone(server: Server, tiny: Tiny, tmp_path: Path) -> None:
    packed = gzip.compress(tiny.files[NAME])

    def encoded(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        handler.wfile.write(packed)

    server.answers = {f"/{NAME}.gz": encoded}
    assert get(f"{server.url}{{file}}.gz", tiny.files[NAME], tmp_path) == tiny.files[NAME]


def redirect(target: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


def drip(server: Server, seconds: float, block: bytes = b"x") -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000000")
        handler.end_headers()
        while not server.released.wait(seconds):
            handler.wfile.write(block)

    return answer


def silent(server: Server) -> Answer:
    return lambda _handler: (server.released.wait(10), None)[1]


def bad_answers(server: Server, content: bytes) -> Iterator[tuple[str, Answer | bytes, type[SourceError], str]]:
    half = content[: len(content) // 2]
    page = b"<html>Sign in to the wireless network</html>"
    yield "not found", status(404), SourceError, r"does not have the file \(HTTP 404\)"
    yield "forbidden", status(403), SourceError, r"HTTP 403"
    yield "broken server", status(500), SourceUnavailableError, r"answers with HTTP 500"
    yield "nothing", b"", SourceError, "another file .0 bytes"
    yield "other bytes", content[::-1], SourceError, "is another file"
    yield "too few bytes", half, SourceError, "is another file"
    yield "a page", lambda handler: send(handler, page, kind="text/html"), SourceError, "is another file .44 bytes"
    yield "claims more", lambda handler: send(handler, half, len(content)), SourceError, r"breaks off \(IncompleteRead"
    yield "claims less", lambda handler: send(handler, content, len(half)), SourceError, "is another file"
    yield (
        "claims nonsense",
        lambda handler: handler.wfile.write(b"\x00\xff\r\n\r\n"),
        SourceUnavailableError,
        "BadStatusLine",
    )
    yield "redirects for ever", redirect(f"/{NAME}"), SourceError, "redirects more than 5 times"
    yield "redirects to a file", redirect("file:///etc/passwd"), SourceError, "InvalidSchema"
    yield "says nothing", silent(server), SourceUnavailableError, "does not answer"
    yield "stalls", drip(server, 5.0), SourceError, "breaks off"
    yield "too long in all", drip(server, 0.2, bytes(20_000)), SourceUnavailableError, "takes more than 2 s"
    yield "endless", drip(server, 0.0, bytes(1 << 20)), SourceError, "is more than 3000000 bytes"


@pytest.mark.parametrize("number", range(16))
def test_a_bad_answer_ends_soon_and_leaves_nothing(
    server: Server, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(mirror, "FILE_BYTES_LIMIT", 3_000_000)
    content = tiny.files[NAME]
    case, answer, kind, complaint = list(bad_answers(server, content))[number]
    server.answers = {f"/{NAME}": answer}
    begin = time.monotonic()
    with pytest.raises(SourceError, match=complaint) as caught:
        get(f"{server.url}{{file}}", content, tmp_path)
    assert time.monotonic() - begin < SOON_SECONDS, case
    assert isinstance(caught.value, kind), case
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"<html>404, but politely</html>", "is not gzip"),
        (gzip.compress(b"x" * 50_000)[:-30], "ends within its gzip"),
        (gzip.compress(bytes(5_000_000)), "is more than 1000000 bytes"),
    ],
    ids=["page", "truncated", "bomb"],
)
def test_a_bad_gzip(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, complaint: str
) -> None:
    monkeypatch.setattr(stream, "FILE_BYTES_LIMIT", 1_000_000)
    server.answers = {f"/{NAME}.gz": body}
    with pytest.raises(SourceError, match=complaint):
        get(f"{server.url}{{file}}.gz", b"x" * 50_000, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_port_is_no_mirror(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(SourceUnavailableError, match="does not answer"):
            get(f"http://127.0.0.1:{port}/{{file}}", b"", tmp_path)


def test_a_name_that_does_not_exist_is_no_mirror(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match="does not answer"):
        get("http://no-such-host.invalid/{file}", b"", tmp_path)
