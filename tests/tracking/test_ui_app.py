"""What `lenet ui` adds to MLflow's server, asked over its ASGI interface."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from lenet.project import Project
from lenet.tracking.store import open_store, tracking_uri
from lenet.tracking.ui_app import VIEW_KEY, WORKFLOW_KEY, charts

ASK = """
from fastapi.testclient import TestClient
from lenet.tracking.ui_app import create_app
client = TestClient(create_app(), base_url="http://127.0.0.1:5000")
conditions = {"If-None-Match": "*", "If-Modified-Since": "Wed, 01 Jan 2098 00:00:00 GMT"}
page = client.get("/", headers=conditions)
print(page.status_code, page.headers["cache-control"], page.headers.get("etag"))
for number, origin in enumerate(({}, {"Origin": "http://127.0.0.1:5000"}, {"Origin": "http://127.0.0.1:1"})):
    print(client.post("/api/2.0/mlflow/experiments/create", json={"name": str(number)}, headers=origin).status_code)
print(client.get("/api/2.0/mlflow/experiments/get?experiment_id=0", headers={"Origin": "http://x"}).status_code)
print(page.text)
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
