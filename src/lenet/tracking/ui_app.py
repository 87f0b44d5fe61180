"""MLflow's server as `lenet ui` runs it: every page opens on training runs, and no other site can write.

MLflow loads it as its app "lenet" (the entry point in pyproject.toml; `mlflow server --app-name lenet`). MLflow 3 opens
an experiment in its view for generative AI unless the address or the browser's local storage says otherwise, and
arranges charts by the alphabet. The arrangement is kept in local storage too; what somebody arranged already stays.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import Request, Response

APP_NAME = "lenet"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONDITIONS = (b"if-none-match", b"if-modified-since")
VALIDATORS = ("etag", "last-modified", "content-length")

WORKFLOW_KEY, WORKFLOW = "mlflow.workflowType_v1", "machine_learning"
VIEW_KEY = 'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState'
"""Names of MLflow's own (3.17), which tests/e2e/test_ui.py sees at work."""

_SECTION = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
_CHART = {"runsCountToCompare": 20, "deleted": False, "isGenerated": False}
_CURVE = _CHART | {
    "type": "LINE",
    "metricSectionId": "curves",
    "lineSmoothness": 0,
    "scaleType": "log",
    "xAxisScaleType": "linear",
    "xAxisKey": "step",
    "yAxisKey": "metric",
    "selectedXAxisMetricKey": "",
    "yAxisExpressions": [],
    "ignoreOutliers": False,
    "range": {},
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}
_DIFFERENCE = _CHART | {
    "uuid": "difference",
    "type": "DIFFERENCE",
    "chartName": "what differs",
    "metricSectionId": "parameters",
    "compareGroups": ["Parameters"],
    "showChangeFromBaseline": False,
    "showDifferencesOnly": True,
    "baselineColumnUuid": "",
}
CURVES = ("val/error", "val/loss")
CURVE_PIXELS, DIFFERENCE_PIXELS = 360, 460


def charts() -> dict[str, Any]:
    """Return the arrangement of an experiment's charts as MLflow's pages keep it: validation by epoch, what differs."""
    sections = [("curves", "By epoch", len(CURVES), CURVE_PIXELS), ("parameters", "What differs", 1, DIFFERENCE_PIXELS)]
    return {
        "compareRunCharts": [
            *(_CURVE | {"uuid": metric, "metricKey": metric, "displayName": metric} for metric in CURVES),
            _DIFFERENCE,
        ],
        "compareRunSections": [
            _SECTION | {"uuid": uuid, "name": name, "columns": columns, "cardHeight": height}
            for uuid, name, columns, height in sections
        ],
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # sections that MLflow adds come after these
    }


def create_app() -> Any:
    """Return MLflow's app behind what this project adds; MLflow's server calls it."""
    from fastapi.responses import HTMLResponse, PlainTextResponse
    from mlflow.server.fastapi_app import create_fastapi_app

    async def front(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if _is_foreign(request):
            return PlainTextResponse("Written from a page of another address: refused", status_code=403)
        if request.url.path != "/":
            return await call_next(request)
        # Without conditions: "not modified" would show the page that a browser keeps from a plain MLflow server.
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] not in CONDITIONS]
        response: Any = await call_next(request)
        body = b"".join([part async for part in response.body_iterator])
        if response.headers.get("content-type", "").startswith("text/html"):
            body = body.replace(b"<head>", b"<head>" + _script().encode(), 1)
        kept = {name: value for name, value in response.headers.items() if name not in VALIDATORS}
        return HTMLResponse(body, response.status_code, kept | {"cache-control": "no-store"})

    app = create_fastapi_app()
    app.middleware("http")(front)
    return app


def _is_foreign(request: Request) -> bool:
    """Say whether a page of another address wants to write; MLflow itself trusts every port of this machine."""
    origin = request.headers.get("origin")
    return origin not in {None, f"http://{request.headers.get('host')}"} and request.method not in SAFE_METHODS


def _script() -> str:
    """Return the script that gives a browser its defaults, for each experiment that there is."""
    import mlflow

    experiments = [found.experiment_id for found in mlflow.MlflowClient().search_experiments()]
    view = charts()
    defaults = {WORKFLOW_KEY: WORKFLOW} | {VIEW_KEY.format(experiment=number): view for number in experiments}
    entries = json.dumps(defaults).replace("<", "\\u003c")
    set_where_unset = "if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(value))"
    return f"<script>for (const [key, value] of Object.entries({entries})) {set_where_unset}</script>"
