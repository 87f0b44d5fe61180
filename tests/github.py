"""A server that stands in for GitHub: the comments of pull request 7 of me/lab."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class GitHub(ThreadingHTTPServer):
    """Knows comments, and who may write them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.comments: list[dict[str, Any]] = []
        self.may_write = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: GitHub

    def do_GET(self) -> None:
        match = re.fullmatch(r"/repos/me/lab/issues/7/comments\?per_page=(\d+)&page=(\d+)", self.path)
        assert match is not None
        size, page = int(match[1]), int(match[2])
        self.answer(200, self.server.comments[(page - 1) * size : page * size])

    def do_POST(self) -> None:
        assert self.path == "/repos/me/lab/issues/7/comments"
        self.write({"id": len(self.server.comments) + 1, "user": {"type": "Bot"}})

    def do_PATCH(self) -> None:
        number = int(self.path.removeprefix("/repos/me/lab/issues/comments/"))
        self.write(next(one for one in self.server.comments if one["id"] == number))

    def write(self, comment: dict[str, Any]) -> None:
        assert self.headers["Authorization"] == "Bearer secret"
        comment |= json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.may_write:
            self.answer(403, {})
            return
        if comment not in self.server.comments:
            self.server.comments.append(comment)
        self.answer(200, comment)

    def answer(self, code: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass
