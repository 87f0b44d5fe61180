"""What `lenet ui` adds to MLflow's server, asked over its ASGI interface."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from lenet.core.project import Project
from lenet.tracking.store import open_store, tracking_uri
from lenet.tracking.ui_app import VIEW_KEY, WORKFLOW_KEY, charts

ASK = """
import asyncio, json
from lenet.tracking.ui_app import create_app

async def ask(method, path, query="", headers=(), body=b""):
    told = []
    lines = [(b"host", b"127.0.0.1:5000"), (b"content-type", b"application/json"),
             (b"content-length", str(len(body)).encode()), *headers]
    scope = {"type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
             "root_path": "", "scheme": "http", "query_string": query.encode(), "headers": lines,
             "asgi": {"version": "3.0"}, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 5000)}
    asked = [{"type": "http.request", "body": body, "more_body": False}]
    async def receive():
        return asked.pop() if asked else await asyncio.sleep(60)
    async def send(message):
        told.append(message)
    await app(scope, receive, send)
    names = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], names, b"".join(message.get("body", b"") for message in told[1:]).decode()

async def main():
    conditions = [(b"if-none-match", b"*"), (b"if-modified-since", b"Wed, 01 Jan 2098 00:00:00 GMT")]
    status, names, text = await ask("GET", "/", headers=conditions)
    print(status, names["cache-control"], names.get("etag"))
    for number, origin in enumerate((None, b"http://127.0.0.1:5000", b"http://127.0.0.1:1")):
        body = json.dumps({"experiment_id": "0", "key": "k", "value": str(number)}).encode()
        lines = [(b"origin", origin)] if origin else []
        print((await ask("POST", "/api/2.0/mlflow/experiments/set-experiment-tag", headers=lines, body=body))[0])
    lines = [(b"origin", b"http://x")]
    print((await ask("GET", "/api/2.0/mlflow/experiments/get", "experiment_id=0", lines))[0])
    print(text)

app = create_app()
asyncio.run(main())
"""


def test_the_page_carries_defaults_and_foreign_pages_write_nothing(project: Project) -> None:
    uri = tracking_uri(project)
    number = open_store(project, uri).create_experiment("</script>")
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={"MLFLOW_TRACKING_URI": uri, "_MLFLOW_SERVER_FILE_STORE": uri, "PATH": "", "HOME": str(project.home)},
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    page, own, same, foreign, read, text = done.stdout.split("\n", 5)
    assert page == "200 no-store None"
    assert (own, same, foreign, read) == ("200", "200", "403", "200")
    told = re.search(r"<head><script>for .* Object\.entries\((\{.*\})\)\) ", text)
    assert told is not None
    defaults = json.loads(told[1])
    assert defaults[WORKFLOW_KEY] == "machine_learning"
    assert defaults[VIEW_KEY.format(experiment=number)] == charts()


def test_the_charts_begin_with_the_validation_error() -> None:
    view = charts()
    assert [chart.get("metricKey") for chart in view["compareRunCharts"]] == ["val/error", "val/loss", None]
    sections = {section["uuid"] for section in view["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == sections
