from __future__ import annotations

import base64
import hashlib
import html
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs
from recorded_studies import ODD, SEARCHES, Search

from lenet.search.page import write_page
from lenet.search.spec import override_value
from lenet.search.trial_records import ranked

BROWSERS = [os.environ.get("LENET_CHROMIUM", "chromium"), "chromium-browser", "google-chrome"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
COMMAND = "python train.py experiment=lenet5_relu 'a=<b>'"
FIGURES = {
    "of every kind": ["History", "Parallel coordinates", "Each parameter", "Learning curves"],
    "two objectives": [
        "History", "Pareto front", "Parallel coordinates", "Each parameter", "Importance of the parameters",
    ],
    "only pruned": ["Learning curves"],
    "only failed": [],
    "no trial": [],
}  # fmt: skip


class Page(HTMLParser):
    """Tags, attributes and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if (
            self.tags
            and self.tags[-1][0] == "script"
            and len(self.scripts) < [tag for tag, _ in self.tags].count("script")
        ):
            self.scripts.append(data)


def written(search: Search, path: Path) -> str:
    command = COMMAND if ranked(search.records) else None
    write_page(search.study, search.records, search.objectives, command, path)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SEARCHES)
def test_a_page_fetches_nothing_and_runs_its_own_scripts_alone(name: str, tmp_path: Path) -> None:
    text = written(SEARCHES[name](), tmp_path / "search.html")
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"link", "iframe", "object", "embed", "base", "img", "form", "a"})
    for _, attributes in page.tags:
        assert not {"src", "href", "srcset", "action"} & set(attributes)
        assert not [attribute for attribute in attributes if attribute.startswith("on")]
    policy = next(str(attributes["content"]) for _, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; ")
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    assert policy.endswith(f"; script-src {allowed}")
    assert text.count(get_plotlyjs()) == (1 if digests else 0)


@pytest.mark.parametrize("name", FIGURES)
def test_a_page_has_the_figures_that_the_trials_allow(name: str, tmp_path: Path) -> None:
    search = SEARCHES[name]()
    text = written(search, tmp_path / "search.html")
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    best = next(iter(ranked(search.records)), None)
    if best:
        assert headings.pop(0) == f"Best: {best.error:.2f} % validation error, trial {best.number}"
        assert html.escape(COMMAND) in text
        assert all(f"{field}={html.escape(override_value(value))}" in text for field, value in best.assignment.items())
    assert headings == FIGURES[name]
    assert text.count("Plotly.newPlot(") - get_plotlyjs().count("Plotly.newPlot(") * bool(headings) == len(headings)


def test_a_name_is_never_markup(tmp_path: Path) -> None:
    text = written(SEARCHES["odd names"](), tmp_path / "search.html")
    assert html.escape("_more</script>") in text
    assert ODD not in text
    assert "_more</script>" not in text.replace(get_plotlyjs(), "")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium, or set LENET_CHROMIUM")
@pytest.mark.parametrize("name", ["of every kind", "two objectives", "odd names"])
def test_a_browser_draws_every_figure_and_requests_nothing(name: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "search.html"
    figures = written(SEARCHES[name](), path).count('class="plotly-graph-div"')
    requests: list[str] = []
    errors: list[str] = []
    with sync_playwright() as playwright:
        words = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=words)
        page = browser.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot').length >= {figures}")
        browser.close()
    assert figures >= 3
    assert requests == [path.as_uri()]
    # Plotly takes a name between dollar signs for a formula, and then writes it as it is.
    assert [error for error in errors if "MathJax is not loaded" not in error] == []
