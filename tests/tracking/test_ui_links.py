from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from lenet.tracking.ui_links import runs_link, ui_address


def test_the_ui_is_the_server_itself_or_where_lenet_ui_opens_it() -> None:
    assert ui_address("http://host:8080/") == "http://host:8080"
    assert ui_address("https://host/mlflow") == "https://host/mlflow"
    assert ui_address("sqlite:////tmp/mlflow.db") == "http://127.0.0.1:5000"


def test_one_run_has_its_own_page() -> None:
    link = runs_link("http://host", "7", ["abc"])
    assert link == "http://host/#/experiments/7/runs/abc?workflowType=machine_learning"


def test_several_runs_are_compared_and_no_others() -> None:
    link = runs_link("http://host", "7", ["abc", "def", "01"])
    assert " " not in link
    assert '"' not in link
    page = urlsplit(urlsplit(link).fragment)
    assert page.path == "/experiments/7/runs"
    query = parse_qs(page.query)
    assert query["searchFilter"] == ["attributes.run_id IN ('abc','def','01')"]
    assert query["compareRunsMode"] == ["CHART"]
    assert query["workflowType"] == ["machine_learning"]
