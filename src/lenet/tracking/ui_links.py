"""Addresses in the MLflow UI."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode, urlsplit

UI_HOST = "127.0.0.1"
UI_PORT = 5000
WORKFLOW = "workflowType=machine_learning"
"""Without it MLflow 3 opens its view for generative AI."""


def ui_address(uri: str) -> str:
    """Return where the UI of a store is: the server's own address, or where `lenet ui` opens it."""
    return uri.rstrip("/") if urlsplit(uri).scheme in {"http", "https"} else f"http://{UI_HOST}:{UI_PORT}"


def runs_link(address: str, experiment: str, runs: Sequence[str]) -> str:
    """Return the address of one run, or of the charts of exactly these runs."""
    if len(runs) == 1:
        return f"{address}/#/experiments/{experiment}/runs/{runs[0]}?{WORKFLOW}"
    named = ",".join(f"'{run}'" for run in runs)
    return charts_link(address, experiment, f"attributes.run_id IN ({named})")


def charts_link(address: str, experiment: str, search: str = "") -> str:
    """Return the address of the charts of an experiment's runs, or of those that fit a search in MLflow's words."""
    query = urlencode({"searchFilter": search, "compareRunsMode": "CHART"}, quote_via=quote)
    return f"{address}/#/experiments/{experiment}/runs?{query}&{WORKFLOW}"
