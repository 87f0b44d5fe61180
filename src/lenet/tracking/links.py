"""Addresses in the MLflow UI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote, urlsplit

UI_HOST = "127.0.0.1"
UI_PORT = 5000
WORKFLOW = "workflowType=machine_learning"
"""Without it MLflow 3 opens its view for generative AI."""


def ui_address(uri: str) -> str:
    """Return where the UI of a store is: the server's own address, or where `lenet ui` opens it."""
    return uri.rstrip("/") if urlsplit(uri).scheme in {"http", "https"} else f"http://{UI_HOST}:{UI_PORT}"


def runs_link(address: str, experiment: str, runs: Sequence[str]) -> str:
    """Return the address of one run, or of the page that compares exactly these runs."""
    if len(runs) == 1:
        return f"{address}/#/experiments/{experiment}/runs/{runs[0]}?{WORKFLOW}"
    named = quote(json.dumps(list(runs), separators=(",", ":")))
    return f"{address}/#/compare-runs?runs={named}&experiments={quote(json.dumps([experiment]))}&{WORKFLOW}"
