"""Put a report into a pull request's comment: created once, then updated. Needs nothing but Python.

Usage: comment.py REPORT.md, with GITHUB_TOKEN, GITHUB_API_URL, GITHUB_REPOSITORY and PULL_REQUEST in the environment,
and GITHUB_SERVER_URL and GITHUB_RUN_ID for a link to the run.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MARKER = "<!-- lenet retrain -->"
"""In the first line of the comment, unseen: the comment that is updated."""

LONGEST = 60_000
"""Characters; GitHub takes 65,536."""

PAGE = 100
SECONDS = 30
FORBIDDEN = (401, 403)


def main() -> None:
    """Create or update the comment; a token without the right to write is reported and is no failure."""
    if len(sys.argv) != 2:
        sys.exit("usage: comment.py REPORT.md")
    try:
        print(comment(body(Path(sys.argv[1]))))
    except KeyError as error:
        sys.exit(f"error: {error.args[0]} is not set")
    except urllib.error.HTTPError as error:
        if error.code not in FORBIDDEN:
            sys.exit(f"error: GitHub said {error.code} {error.reason}")
        print(f"no comment: the token may not write one ({error.code}); the job's summary has the report")
    except OSError as error:
        sys.exit(f"error: GitHub cannot be reached: {error}")


def body(report: Path) -> str:
    """Return the comment's text: the report, or that there is none, and where the run is."""
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    run = f"{server}/{os.environ['GITHUB_REPOSITORY']}/actions/runs/{os.environ.get('GITHUB_RUN_ID', '')}"
    text = "# No decision\n\nThe retraining ended before the gate; see its log."
    if report.is_file():
        text = report.read_text(encoding="utf-8")
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}\n\n… cut here."
    return f"{MARKER}\n{text}\n\n[The run and its artifacts]({run})\n"


def comment(text: str) -> str:
    """Create the comment, or update the one that is there, and return which it was."""
    issues = f"/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    known = find(f"{issues}/{os.environ['PULL_REQUEST']}/comments")
    if known is None:
        call("POST", f"{issues}/{os.environ['PULL_REQUEST']}/comments", {"body": text})
        return "comment: created"
    call("PATCH", f"{issues}/comments/{known}", {"body": text})
    return "comment: updated"


def find(path: str) -> int | None:
    """Return the id of our comment; one that a person wrote is never ours, whatever it begins with."""
    page = 1
    while True:
        found = call("GET", f"{path}?per_page={PAGE}&page={page}")
        for one in found:
            if one["body"].startswith(MARKER) and one["user"]["type"] == "Bot":
                return int(one["id"])
        if len(found) < PAGE:
            return None
        page += 1


def call(method: str, path: str, content: dict[str, str] | None = None) -> Any:
    """Send a request to GitHub's API and return its response."""
    url = os.environ.get("GITHUB_API_URL", "https://api.github.com") + path
    data = json.dumps(content).encode() if content is not None else None
    headers = {"Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - the runner names the address
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        return json.load(answer)


if __name__ == "__main__":
    main()
