from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lenet.report.document import Section, Table, markdown, page

SCRIPT = "<script>alert('\"&')</script>"
PNG = b"\x89PNG\r\n\x1a\n not really a picture, but the page does not look inside"


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


@pytest.fixture
def sections(tmp_path: Path) -> list[Section]:
    picture = tmp_path / "it's a|(picture).png"
    picture.write_bytes(PNG)
    table = Table([SCRIPT, "a|b", "error"], [[SCRIPT, "x|y\nz", "0.95 %"], ["", "`code`", "−1"]], f"caption {SCRIPT}")
    return [
        Section(f"1. {SCRIPT}", [SCRIPT, "1. is no list", "- nor is *this*"], table, [(picture, f"] {SCRIPT}")]),
        Section("Empty"),
        Section("Third", ["https://example.org is text"]),
    ]


def test_everything_is_escaped(sections: list[Section]) -> None:
    text = page(SCRIPT, SCRIPT, sections)
    assert "<script" not in text
    read = Reader(text)
    assert read.text.count(SCRIPT) == 6  # title, first heading, lead, paragraph, header and cell show exactly it
    images = [attributes for tag, attributes in read.elements if tag == "img"]
    assert images[0]["alt"] == f"] {SCRIPT}"


def test_nothing_is_fetched_and_nothing_runs(sections: list[Section]) -> None:
    read = Reader(page("title", "lead", sections))
    assert {tag for tag, _ in read.elements}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    for tag, attributes in read.elements:
        assert not [name for name in attributes if name.startswith("on")]
        if "src" in attributes:
            assert tag == "img"
            assert (attributes["src"] or "").startswith("data:image/")
        if "href" in attributes:
            assert tag == "a"
            assert (attributes["href"] or "").startswith("#")
    text = page("title", "lead", sections[:1])
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_a_picture_is_held_whole(sections: list[Section]) -> None:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page("title", "", sections))
    assert [base64.b64decode(content) for content in found] == [PNG]


def test_contents_lead_to_the_sections(sections: list[Section]) -> None:
    elements = Reader(page("title", "lead", sections)).elements
    targets = {attributes["id"] for _, attributes in elements if "id" in attributes}
    links = {(attributes["href"] or "").removeprefix("#") for tag, attributes in elements if tag == "a"}
    assert links == targets
    assert len(links) == 3
    assert not [tag for tag, _ in Reader(page("title", "lead", sections[:1])).elements if tag == "nav"]


def test_figures_lead_to_their_runs(sections: list[Section]) -> None:
    table = Table(["run", "error"], [["1a2b", "0.7"], ["3c4d", "0.8"]], lists_runs=True)
    runs = Section("Runs", table=table)
    figures = Section("Figures", ["0.75 %"], runs={"<relu>": ["1a2b", "3c4d"], "elsewhere": ["5e6f"], "all a|b": []})
    text = page("title", "", [figures, runs])
    assert "Runs: &lt;relu&gt; <a" in text
    assert "; elsewhere 5e6f; all a|b.</p>" in text  # listed nowhere: named, but no link that leads nowhere
    elements = Reader(text).elements
    links = [attributes["href"] for tag, attributes in elements if tag == "a"]
    assert links == ["#run-1a2b", "#run-3c4d"]
    assert {"run-1a2b", "run-3c4d"} <= {attributes["id"] for _, attributes in elements if "id" in attributes}
    assert r"Runs: &lt;relu&gt; 1a2b, 3c4d; elsewhere 5e6f; all a\|b." in markdown("title", "", [figures, runs])
    assert 'id="run-' not in page("title", "", sections)


def test_the_page_says_how_it_is_shown() -> None:
    text = page("title", "", [])
    assert text.startswith("<!DOCTYPE html>")
    for promise in ("prefers-color-scheme: dark", "@media print", "overflow-x: auto", 'charset="utf-8"', "viewport"):
        assert promise in text


def test_numbers_are_set_to_the_right() -> None:
    table = Table(["variant", "error", "p", "none"], [["relu-2", "0.95 %", "−0.1", ""], ["7 tanh", "–", "+3", ""]])
    assert [table.numeric(column) for column in range(4)] == [False, True, True, False]
    assert page("t", "", [Section("h", table=table)]).count('class="number"') == 2 * 3
    assert "| --- | ---: | ---: | --- |" in markdown("t", "", [Section("h", table=table)])


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 columns"):
        Table(["a", "b"], [["only one"]])


def test_a_picture_of_another_kind_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("text")
    with pytest.raises(ValueError, match=r"one\.txt"):
        page("title", "", [Section("h", pictures=[(tmp_path / "one.txt", "")])])
    with pytest.raises(FileNotFoundError):
        page("title", "", [Section("h", pictures=[(tmp_path / "missing.png", "")])])


def test_markdown_shows_the_same_and_escapes_its_own_marks(sections: list[Section]) -> None:
    text = markdown("a # title_", "lead *x* $y$ [z](w)", sections, home=sections[0].pictures[0][0].parents[1])
    lines = text.splitlines()
    assert "<script" not in text
    assert lines[0] == r"# a \# title\_"
    assert r"lead \*x\* \$y\$ \[z\](w)" in lines
    assert r"1\. is no list" in lines
    assert r"\- nor is \*this\*" in lines
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    assert [len(row) for row in cells] == [3, 3, 3, 3]
    assert cells[2][1] == r" x\|y z "
    assert cells[3][1] == r" \`code\` "
    pictures = [line for line in lines if line.startswith("![")]
    assert len(pictures) == 1
    assert pictures[0].startswith(r"![\] &lt;script")
    assert pictures[0].endswith(f"]({sections[0].pictures[0][0].parent.name}/it%27s%20a%7C%28picture%29.png)")
    assert "](it%27s" in markdown("t", "", sections)


def test_both_can_be_written_whatever_a_name_holds() -> None:
    text = "lone \udc80 surrogate\0"
    page(text, text, [Section(text, [text])]).encode()
    markdown(text, text, [Section(text, [text])]).encode()
    assert "\0" not in page(text, text, [])
