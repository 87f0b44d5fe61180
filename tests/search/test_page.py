from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import shutil
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_studies import ODD, SEARCHES, Search, always
from plotly.offline import get_plotlyjs

from lenet.report.page_style import POLICY
from lenet.search.page import SHOWN_TRIALS, write_search_page
from lenet.search.trial_records import ranked

BROWSERS = [os.environ.get("LENET_CHROMIUM", "chromium"), "chromium-browser", "google-chrome"]
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
COMMAND = "python train.py experiment=lenet5_relu 'a=<b>'"
OTHER_BYTES = 500_000
HEADINGS = [
    "Best trials",
    "Train the best",
    "Every trial",
    "Where the good trials are",
    "Which fields matter",
    "Each field by itself",
    "How the trials learned",
]


class Reader(HTMLParser):
    """Collects elements with their attributes and their text; what a script holds is no markup."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.is_inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        self.is_inside = True

    def handle_endtag(self, tag: str) -> None:
        self.is_inside = False

    def handle_data(self, data: str) -> None:
        if self.is_inside:
            self.elements[-1][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(text)) for name, attributes, text in self.elements if name == tag]


def summary(search: Search) -> dict[str, Any]:
    found = search.found
    states = [one.state for one in found]
    best = next(iter(ranked(found)), None)
    return {
        "study": search.name,
        "objectives": list(search.objectives),
        "sampler": "random",
        "pruner": "asha",
        "trials": {
            "complete": states.count("COMPLETE"),
            "pruned": states.count("PRUNED"),
            "failed": states.count("FAIL"),
            "all": len(states),
        },
        "epochs": sum(one.outcome["epochs"] for one in found),
        "epochs_unpruned": 5 * len(found),
        "best": best and {"trial": best.number, "val_error": best.error},
    }


def written(search: Search, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_search_page(search.study, search.found, summary(search), path, COMMAND)
    return path.read_text(encoding="utf-8")


def figures(page: Reader) -> dict[str, dict[str, Any]]:
    return {
        str(attributes["data-part"]): json.loads(text)
        for attributes, text in page.all("script")
        if attributes.get("type") == "application/json"
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(Search(), tmp_path_factory.mktemp("page") / "search.html")


@pytest.mark.parametrize("name", SEARCHES)
def test_whatever_a_search_came_to_its_page_fetches_nothing(name: str, tmp_path: Path) -> None:
    search = SEARCHES[name]()
    text = written(search, tmp_path / "search.html")
    page = Reader(text)
    assert {tag for tag, _, _ in page.elements}.isdisjoint({"link", "iframe", "object", "embed", "base", "img", "form"})
    for tag, attributes, _ in page.elements:
        assert not {"src", "srcset", "data", "poster", "action", "background"} & set(attributes)
        assert not [attribute for attribute in attributes if attribute.startswith("on")]
        if "href" in attributes:
            assert tag == "a"
            assert str(attributes["href"]).startswith("#part-")
    styles = "".join(style for _, style in page.all("style"))
    assert not re.search(r"url\(|@import|https?:", styles)
    assert len(text.encode()) - len(get_plotlyjs().encode()) * text.count(get_plotlyjs()) <= OTHER_BYTES


def test_only_the_scripts_of_the_page_may_run_and_the_library_is_there_once(text: str) -> None:
    page = Reader(text)
    policy = next(attributes["content"] for attributes, _ in page.all("meta") if "http-equiv" in attributes)
    assert str(policy).startswith(POLICY)  # default-src 'none'
    scripts = [script for attributes, script in page.all("script") if "type" not in attributes]
    assert scripts[0] == get_plotlyjs()
    assert text.count(get_plotlyjs()) == 1
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert str(policy).endswith(f"; script-src {allowed}")


def test_the_page_says_what_came_out(text: str) -> None:
    search, page = Search(), Reader(text)
    assert page.all("title")[0][1] == "Search recipe-0123456789ab"
    assert [heading for _, heading in page.all("h2")] == HEADINGS
    best = ranked(search.found)
    lead = page.all("p")[0][1]
    assert lead.startswith("30 trials: 9 complete, 18 pruned, 3 failed; best: ")
    assert f"{best[0].error:.2f} % validation error, trial {best[0].number}" in lead
    header = [cell for _, cell in page.all("th")]
    assert header == ["trial", *(str(one.number) for one in best[:SHOWN_TRIALS])]
    cells = [cell for _, cell in page.all("td")]
    rows = {cells[at]: cells[at + 1 : at + len(header)] for at in range(0, len(cells), len(header))}
    assert rows["validation error"] == [f"{one.error:.2f} %" for one in best[:SHOWN_TRIALS]]
    assert rows["run"] == [one.fingerprint[:8] for one in best[:SHOWN_TRIALS]]
    momenta = [one.assignment.get("optimizer.momentum") for one in best[:SHOWN_TRIALS]]
    assert rows["optimizer.momentum"] == ["–" if value is None else f"{value:.3g}" for value in momenta]
    assert html.escape(COMMAND, quote=True) in text


def test_ten_of_many_trials_are_in_the_table(tmp_path: Path) -> None:
    page = Reader(written(SEARCHES["two objectives"](), tmp_path / "search.html"))
    assert len(page.all("th")) == 1 + SHOWN_TRIALS
    assert "parameters" in [cell for _, cell in page.all("td")]


def test_each_section_has_its_figure(text: str) -> None:
    found = figures(Reader(text))
    assert list(found) == ["part-3", "part-4", "part-6", "part-7"]  # nine complete trials do not tell what matters
    history = {trace["name"]: trace for trace in found["part-3"]["data"]}
    assert set(history) == {"best so far", "ended early: its last", "complete"}
    assert len(history["complete"]["x"]) == 9
    assert history["best so far"]["y"] == sorted(history["best so far"]["y"], reverse=True)
    parallel = found["part-4"]
    assert len([trace for trace in parallel["data"] if "customdata" in trace]) == 9
    assert len(parallel["layout"]["xaxis"]["ticktext"]) == 8  # seven fields and the error
    slices = found["part-6"]["layout"]
    assert slices["xaxis"]["ticktext"] == ["0", "1", "2"]
    assert slices["xaxis2"]["ticktext"] == ["relu", "tanh", "gelu"]
    assert len(found["part-7"]["data"]) == 26  # all but those that failed or were too large


def test_the_front_is_there_with_two_objectives(tmp_path: Path) -> None:
    search = SEARCHES["two objectives"]()
    page = Reader(written(search, tmp_path / "search.html"))
    assert "What a lower error costs" in [heading for _, heading in page.all("h2")]
    front = {trace["name"]: trace for trace in figures(page)["part-4"]["data"]}
    assert set(front) == {"complete", "over a limit", "front"}
    assert sum(len(trace["x"]) for trace in front.values()) == 30
    assert "part-6" in figures(page)  # importances


@pytest.mark.parametrize("name", ["no trial", "only failed", "all infinite"])
def test_without_anything_to_draw_there_are_sentences_and_no_script(name: str, tmp_path: Path) -> None:
    text = written(SEARCHES[name](), tmp_path / "search.html")
    page = Reader(text)
    assert not page.all("script")
    assert "script-src 'none'" in text
    assert [heading for _, heading in page.all("h2")] == HEADINGS
    assert len(text) < 20_000


def test_only_pruned_trials_have_no_best(tmp_path: Path) -> None:
    page = Reader(written(Search(4, always(state="PRUNED")), tmp_path / "search.html"))
    paragraphs = [paragraph for _, paragraph in page.all("p")]
    assert "No trial is complete within the limits yet." in paragraphs
    assert "none is the best yet" in paragraphs[0]
    assert list(figures(page)) == ["part-3", "part-7"]


@pytest.mark.parametrize("name", ["of every kind", "two objectives"])
def test_trials_that_end_while_the_page_is_written_do_no_harm(name: str, tmp_path: Path) -> None:
    search, later = SEARCHES[name](), SEARCHES[name]()
    known = search.found[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_search_page(later.study, known, summary(search), tmp_path / "search.html")
    assert "part-3" in figures(Reader((tmp_path / "search.html").read_text(encoding="utf-8")))
    assert [trial.state for trial in later.study.trials] == [trial.state for trial in search.study.trials]


def test_a_name_is_never_markup(tmp_path: Path) -> None:
    text = written(SEARCHES["odd names"](), tmp_path / "search.html")
    page = Reader(text)
    assert page.all("title")[0][1] == f"Search {' '.join(ODD.split())}"
    assert len(page.all("script")) == len(figures(page)) + 2
    assert html.escape("_more</script>") in text
    hovers = [point for trace in figures(page)["part-3"]["data"] for point in trace.get("text", [])]
    assert hovers
    assert not [point for point in hovers if "</script>" in point]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium, or set LENET_CHROMIUM")
@pytest.mark.parametrize("name", ["of every kind", "two objectives", "odd names"])
def test_a_browser_draws_every_figure_and_asks_nobody(name: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    path = tmp_path / "search.html"
    held = figures(Reader(written(SEARCHES[name](), path)))
    asked: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        words = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=words)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function(f"document.querySelectorAll('.chart .main-svg').length >= {len(held)}")
        drawn = page.evaluate("[...document.querySelectorAll('.chart')].map(chart => chart.parentElement.id)")
        browser.close()
    assert asked == [path.as_uri()]
    # A name between dollar signs is a formula to Plotly, which it then writes as it is.
    assert [complaint for complaint in complaints if "MathJax is not loaded" not in complaint] == []
    assert drawn == list(held)
