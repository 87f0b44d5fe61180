from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markdown_it import MarkdownIt
from markupsafe import Markup

from lenet.report.render import counted, escape_markdown, interval, picture, render, short, spread, to_page

SCRIPT = "<script>alert('\"&')</script>"
PNG = b"\x89PNG\r\n\x1a\n not really a picture, but the page does not look inside"
RUN, OTHER = "a" * 12, "b" * 12


class Reader(HTMLParser):
    """Collects what a browser would see: elements, their attributes, and the text of the body."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and data.strip():
            self.text.append(data)

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attributes[name] for one, attributes in self.elements if one == tag and name in attributes]


@pytest.fixture
def markdown(tmp_path: Path) -> str:
    (tmp_path / "it's a|(picture).png").write_bytes(PNG)
    evil = escape_markdown(SCRIPT)
    return f"""# {evil}

{evil}

## 1. {evil}

{picture("it's a|(picture).png", f"] {SCRIPT}")}

| run | {evil} | error |
| --- | --- | ---: |
| {RUN} | {evil} | 0.95 |

Runs: {evil} {RUN}; elsewhere {OTHER}.

## Second

https://example.org is text, {SCRIPT} too

## Third
"""


@pytest.mark.parametrize(
    "text",
    [
        SCRIPT,
        "1. is no list",
        "- nor is *this*",
        "+",
        "a|b `code` _x_ $y$ [z](w) ~~s~~ # ! \\ &amp;",
        "#",
        "a  \n\nb",
        "lone \udc80 surrogate\0",
    ],
)
def test_escaped_text_shows_as_it_is(text: str) -> None:
    expected = " ".join(text.replace("\0", " ").split()).encode("utf-8", "replace").decode()
    page = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(f"{escape_markdown(text)}\n\n| {escape_markdown(text)} |\n|---|\n")
    )
    read = Reader(page)
    assert {tag for tag, _ in read.elements} == {"p", "table", "thead", "tr", "th"}
    assert "".join(read.text) == expected * 2
    page.encode()


def test_a_template_escapes_every_value_and_misses_none() -> None:
    variant = {"test_error": {"n": 1, "mean": 1.0, "deviation": None}, "interval": [0.5, 1.5]}
    variant["validation_error"] = variant["test_error"]
    evaluation = {"confidence": 0.9, "variants": {f"a|{SCRIPT}": variant}}
    text = render("variants.md.j2", {"evaluation": evaluation, "ranking": [f"a|{SCRIPT}"]})
    assert "<" not in text
    assert text.splitlines()[0] == "| variant | test error % | 90 % interval | validation error % | seeds |"
    assert text.splitlines()[2].startswith(r"| a\|&lt;script&gt;")
    assert text.splitlines()[2].endswith(" | 1.00 | 0.50–1.50 | 1.00 | 1 |")
    with pytest.raises(UndefinedError, match="ranking"):
        render("variants.md.j2", {"evaluation": evaluation})


def test_filters() -> None:
    assert spread({"mean": 1.234, "deviation": None}) == "1.23"
    assert spread({"mean": 1.234, "deviation": 0.5678}, 1) == "1.2 ± 0.6"
    assert interval((0.5, 1.25), 1) == "0.5–1.2"
    assert (counted(1, "seed"), counted(1000, "image")) == ("1 seed", "1,000 images")
    assert (short("a" * 64), short(["a" * 64, "b" * 64])) == (RUN, f"{RUN}, {OTHER}")
    assert picture("a b.png", "c_d") == Markup(r"![c\_d](a%20b.png)")


def test_the_page_escapes_runs_nothing_and_fetches_nothing(markdown: str, tmp_path: Path) -> None:
    page = to_page(markdown, tmp_path)
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page
    assert "url(" not in page
    assert "@import" not in page
    read = Reader(page)
    assert {tag for tag, _ in read.elements}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    assert not [name for _, attributes in read.elements for name in attributes if name.startswith("on")]
    assert read.attributes("meta", "content")[0] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert all((link or "").startswith("#") for link in read.attributes("a", "href"))
    assert read.text.count(SCRIPT) == 5  # title, heading, lead, header and cell of the table
    assert read.attributes("img", "alt") == [f"] {SCRIPT}"]
    assert read.attributes("p", "class") == ["lead", "runs"]


def test_the_page_holds_its_pictures(markdown: str, tmp_path: Path) -> None:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', to_page(markdown, tmp_path))
    assert [base64.b64decode(content) for content in found] == [PNG]
    with pytest.raises(FileNotFoundError):
        to_page("![](missing.png)", tmp_path)
    (tmp_path / "one.txt").write_text("text")
    with pytest.raises(ValueError, match=r"one\.txt"):
        to_page("![](one.txt)", tmp_path)


def test_contents_lead_to_the_sections(markdown: str, tmp_path: Path) -> None:
    read = Reader(to_page(markdown, tmp_path))
    sections = read.attributes("h2", "id")
    assert len(sections) == 3
    assert [link for link in read.attributes("a", "href") if "part" in (link or "")] == [f"#{one}" for one in sections]
    assert "<nav" not in to_page("# title\n\n## one\n\n## two\n", tmp_path)


def test_runs_lead_to_the_table_of_runs(markdown: str, tmp_path: Path) -> None:
    page = to_page(markdown, tmp_path)
    read = Reader(page)
    assert read.attributes("tr", "id") == [f"run-{RUN}"]
    assert [link for link in read.attributes("a", "href") if "run" in (link or "")] == [f"#run-{RUN}"]
    assert f"elsewhere {OTHER}." in page  # in no table: no link that leads nowhere
