"""Render Markdown from the templates beside this file, and a page that opens offline from that Markdown.

Every value that a template prints is escaped, so that a variant's name shows as it is in Markdown and in HTML; only the
templates' own text is Markdown.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from lenet.runs.run_dir import SHORT

TEMPLATES = Path(__file__).parent / "templates"
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
MIN_SECTIONS = 3
"""Sections from which on a page has a table of contents."""

RUN_HEADER = "run"
"""Header of a table's first column whose cells are runs: links of the page lead to these rows."""

RUNS_PREFIX = "Runs:"
"""Start of the paragraphs whose runs become links."""

_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_BLOCK_START = re.compile(r"^(\d{0,9})([.)](?=\s|$)|[-+=](?=[-=\s]|$))")
_RUN = re.compile(rf"\b[0-9a-f]{{{SHORT}}}\b")


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return a template filled with `values` as GitHub Markdown; between blocks stands one empty line.

    Raises:
        jinja2.UndefinedError: the template names a value that is not there.
    """
    text = _markdown_environment().get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escape_markdown(value: object) -> Markup:
    """Return text as Markdown that shows exactly it, on one line, at the start of a paragraph too."""
    # A command-line argument that is no UTF-8 reaches Python as lone surrogates, which no file can hold.
    flat = " ".join(str(value).replace("\0", " ").split()).encode("utf-8", "replace").decode()
    plain = _SPECIAL.sub(r"\\\1", html.escape(flat, quote=False))
    return Markup(_BLOCK_START.sub(r"\1\\\2", plain))  # noqa: S704 - escaped


def spread(measure: Mapping[str, Any], decimals: int = 2) -> str:
    """Return mean ± standard deviation; the mean alone where there is only one run."""
    mean, deviation = measure["mean"], measure["deviation"]
    return f"{mean:.{decimals}f}" + ("" if deviation is None else f" ± {deviation:.{decimals}f}")


def interval(limits: Sequence[float], decimals: int = 2) -> str:
    """Return both limits with a dash between them."""
    return f"{limits[0]:.{decimals}f}–{limits[1]:.{decimals}f}"


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: `1 seed`, `2 seeds`, `1,000 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def short(runs: str | Iterable[str]) -> str:
    """Return the start of a fingerprint, or those of several."""
    return runs[:SHORT] if isinstance(runs, str) else ", ".join(run[:SHORT] for run in runs)


def picture(path: str, caption: str) -> Markup:
    """Return a picture beside the Markdown file, with its caption."""
    return Markup("![{}]({})").format(escape_markdown(caption), Markup(quote(path)))  # noqa: S704 - quoted


FILTERS: dict[str, Callable[..., str]] = {
    "spread": spread,
    "interval": interval,
    "counted": counted,
    "short": short,
    "picture": picture,
    "fixed": lambda number, decimals=2: f"{number:.{decimals}f}",
    "signed": lambda number: f"{number:+.2f}",
    "thousands": lambda number: f"{number:,}",
    "percent": lambda part: f"{100 * part:g} %",
    "digits": lambda number, digits=2: f"{number:.{digits}g}",
}


@cache
def _markdown_environment() -> Environment:
    def finalize(value: object) -> Markup:
        return value if isinstance(value, Markup) else escape_markdown(value)

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,  # a paragraph after an included one begins a new one
    )
    environment.filters.update(FILTERS)
    return environment


def to_page(markdown: str, folder: Path) -> str:
    """Return Markdown as one HTML document that runs no script and fetches nothing.

    Args:
        markdown: GitHub Markdown that opens with a heading and a paragraph; HTML within it is shown as text.
        folder: where its pictures lie; the page holds them.

    Raises:
        FileNotFoundError: a picture is missing.
        ValueError: a picture is of a kind that MEDIA_TYPES does not name.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    headings = _number_headings(tokens)
    runs = _mark_run_rows(tokens)
    for index, token in enumerate(tokens):
        if token.type == "table_open":
            # Focusable, so that the keyboard can scroll a table that is wider than the window.
            tokens[index] = _html('<div class="scroll" tabindex="0"><table>')
        elif token.type == "table_close":
            tokens[index] = _html("</table></div>\n")
        elif token.type == "inline" and token.children:
            if [child.type for child in token.children] == ["image"]:
                tokens[index - 1 : index + 2] = [_figure(token.children[0], folder), _html(""), _html("")]
            elif token.content.startswith(RUNS_PREFIX):
                tokens[index - 1].attrSet("class", "runs")
                tokens[index] = _html(_link_runs(token.children, runs))
    lead = next((token for token in tokens if token.type == "paragraph_open"), None)
    if lead is not None and "class" not in lead.attrs:
        lead.attrSet("class", "lead")
    values = {
        "title": next((text for tag, _, text in headings if tag == "h1"), ""),
        "contents": [(name, text) for tag, name, text in headings if tag == "h2"],
        "min_sections": MIN_SECTIONS,
        "style": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
        "header": Markup(parser.renderer.render(tokens[: _end_of_header(tokens)], parser.options, {})),  # noqa: S704 - escaped
        "body": Markup(parser.renderer.render(tokens[_end_of_header(tokens) :], parser.options, {})),  # noqa: S704 - escaped
    }
    page = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return page.get_template("page.html.j2").render(values) + "\n"


def _html(content: str) -> Token:
    return Token("html_block", "", 0, content=content)


def _number_headings(tokens: Sequence[Token]) -> list[tuple[str, str, str]]:
    """Give each section's heading an id; return tag, id and text of each heading."""
    found: list[tuple[str, str, str]] = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            name = f"part-{len(found)}"
            if token.tag == "h2":
                token.attrSet("id", name)
            found.append((token.tag, name, "".join(child.content for child in inline.children or ())))
    return found


def _mark_run_rows(tokens: Sequence[Token]) -> set[str]:
    """Give each row of a table of runs an id; return these runs."""
    runs, is_listing = set(), False
    for position, token in enumerate(tokens):
        if token.type == "tr_open":
            first = tokens[position + 2].content
            if tokens[position + 1].type == "th_open":
                is_listing = first == RUN_HEADER
            elif is_listing and _RUN.fullmatch(first):
                token.attrSet("id", f"run-{first}")
                runs.add(first)
    return runs


def _link_runs(children: Sequence[Token], listed: set[str]) -> str:
    text = html.escape("".join(child.content for child in children))
    return _RUN.sub(lambda run: f'<a href="#run-{run[0]}">{run[0]}</a>' if run[0] in listed else run[0], text)


def _figure(image: Token, folder: Path) -> Token:
    path = folder / unquote(str(image.attrs["src"]))
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise ValueError(f"{path}: not a picture that a page can hold ({', '.join(sorted(MEDIA_TYPES))})")
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    text = html.escape("".join(child.content for child in image.children or ()))
    return _html(
        f'<figure><img alt="{text}" src="data:{media_type};base64,{content}"><figcaption>{text}</figcaption></figure>\n'
    )


def _end_of_header(tokens: Sequence[Token]) -> int:
    """Return where the first section begins; before it stand title and lead."""
    return next(
        (n for n, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"), len(tokens)
    )
