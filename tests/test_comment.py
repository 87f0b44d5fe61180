"""The comment on a pull request, against a server that stands in for GitHub: created once, then updated."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from github import GitHub

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def github() -> Iterator[GitHub]:
    server = GitHub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def run(github: GitHub, report: Path, **change: str) -> subprocess.CompletedProcess[str]:
    env = {"GITHUB_API_URL": github.url, "GITHUB_REPOSITORY": "me/lab", "GITHUB_TOKEN": "secret", "PULL_REQUEST": "7"}
    words = [sys.executable, str(REPOSITORY / ".github/comment.py"), str(report)]
    env = {"PATH": os.environ["PATH"], "GITHUB_RUN_ID": "99"} | env | change
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


def test_created_once_then_updated(github: GitHub, tmp_path: Path) -> None:
    mine = "<!-- lenet retrain --> is how it begins"
    github.comments += [{"id": 1000 + number, "body": mine, "user": {"type": "User"}} for number in range(150)]
    report = tmp_path / "retrain.md"
    for said, text in (("created", "# Passed"), ("updated", "# Refused")):
        report.write_text(text)
        assert run(github, report).stdout == f"comment: {said}\n"
    (ours,) = github.comments[150:]
    assert ours["body"].startswith("<!-- lenet retrain -->\n# Refused\n")
    assert "/me/lab/actions/runs/99)" in ours["body"]
    assert all(one["body"] == mine for one in github.comments[:150])


def test_without_a_report_the_comment_says_so(github: GitHub, tmp_path: Path) -> None:
    run(github, tmp_path / "none.md")
    assert "No decision" in github.comments[0]["body"]


def test_a_long_report_is_cut(github: GitHub, tmp_path: Path) -> None:
    report = tmp_path / "retrain.md"
    report.write_text("x" * 100_000)
    assert run(github, report).returncode == 0
    assert len(github.comments[0]["body"]) < 65_536


def test_a_token_that_may_not_write_is_no_failure(github: GitHub, tmp_path: Path) -> None:
    github.may_write = False
    done = run(github, tmp_path / "none.md")
    assert (done.returncode, done.stdout[:11]) == (0, "no comment:")


def test_mistakes_are_one_line(github: GitHub, tmp_path: Path) -> None:
    away = run(github, tmp_path / "none.md", GITHUB_API_URL="http://127.0.0.1:1")
    assert (away.returncode, len(away.stderr.splitlines())) == (1, 1)
    unknown = run(github, tmp_path / "none.md", GITHUB_REPOSITORY="")
    assert unknown.returncode == 1
