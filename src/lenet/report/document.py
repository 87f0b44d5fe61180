"""One report in two forms: an HTML page that needs no network, and the same as GitHub Markdown."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from lenet.report.page_style import POLICY, STYLE

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
CONTENTS_FROM = 3
"""Sections from which on a page opens with a list of them."""

_NUMBER = re.compile(r"[+\-−±]?\d")
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_MARKDOWN_BLOCK = re.compile(r"^(\d{0,9})([.)](?=\s|$)|[-+=](?=[-=\s]|$))")


@dataclass(frozen=True)
class Table:
    """Rows of plain text under a header; a column whose cells all begin as numbers is set to the right.

    Attributes:
        header: the columns' names.
        rows: each as long as `header`.
        caption: one line over the table, or nothing.
        lists_runs: each row is a run, its first cell the start of the fingerprint: `Section.runs` leads there.

    Raises:
        ValueError: a row is shorter or longer than the header.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    lists_runs: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"row {list(row)} does not have the {len(self.header)} columns {list(self.header)}")

    def numeric(self, column: int) -> bool:
        """Return whether every cell of `column` (counted from 0) begins as a number; empty cells and dashes may be."""
        cells = [row[column].strip() for row in self.rows]
        filled = [cell for cell in cells if cell not in {"", "-", "–", "—"}]
        return bool(filled) and all(_NUMBER.match(cell) for cell in filled)


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in this order: paragraphs, a table, pictures with their descriptions, runs.

    `runs` says where the section's figures come from: for each label the starts of the fingerprints of its runs; a
    label without any is text.
    """

    heading: str
    paragraphs: Sequence[str] = ()
    table: Table | None = None
    pictures: Sequence[tuple[Path, str]] = ()
    runs: Mapping[str, Sequence[str]] = field(default_factory=dict)


def _flat(text: str) -> str:
    # One line, and only what UTF-8 can write: an undecodable argument reaches Python as a lone surrogate.
    return " ".join(text.replace("\0", " ").split()).encode("utf-8", "replace").decode()


def _safe(text: str) -> str:
    return html.escape(_flat(text), quote=True)


def _html_table(table: Table) -> str:
    marks = [' class="number"' if table.numeric(column) else "" for column in range(len(table.header))]
    lines = ['<div class="scroll" tabindex="0"><table>']  # focusable, so that the keyboard can scroll it too
    if table.caption:
        lines.append(f"<caption>{_safe(table.caption)}</caption>")
    cells = "".join(f'<th scope="col"{mark}>{_safe(name)}</th>' for name, mark in zip(table.header, marks, strict=True))
    lines.append(f"<thead><tr>{cells}</tr></thead>\n<tbody>")
    for row in table.rows:
        cells = "".join(f"<td{mark}>{_safe(cell)}</td>" for cell, mark in zip(row, marks, strict=True))
        mark = f' id="run-{_safe(row[0])}"' if table.lists_runs else ""
        lines.append(f"<tr{mark}>{cells}</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def _html_picture(path: Path, alt: str) -> str:
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise ValueError(f"{path}: not a picture that a page can hold ({', '.join(sorted(MEDIA_TYPES))})")
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    caption = f"<figcaption>{_safe(alt)}</figcaption>" if alt else ""
    return f'<figure><img alt="{_safe(alt)}" src="data:{media_type};base64,{content}">{caption}</figure>'


def _listed(sections: Sequence[Section]) -> set[str]:
    """Return the runs that a table of the page lists."""
    tables = [section.table for section in sections if section.table is not None]
    return {row[0] for table in tables if table.lists_runs for row in table.rows}


def _html_runs(runs: Mapping[str, Sequence[str]], listed: set[str]) -> str:
    parts = []
    for label, starts in runs.items():
        links = [f'<a href="#run-{_safe(one)}">{_safe(one)}</a>' if one in listed else _safe(one) for one in starts]
        parts.append(f"{_safe(label)} {', '.join(links)}".strip())
    return f'<p class="runs">Runs: {"; ".join(parts)}.</p>'


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return one whole HTML document; every text is taken as plain text, every picture is held inside.

    Raises:
        FileNotFoundError: a picture is not there.
        ValueError: a picture is of a kind that MEDIA_TYPES does not name.
    """
    listed = _listed(sections)
    body = [f"<header>\n<h1>{_safe(title)}</h1>"]
    if lead:
        body.append(f'<p class="lead">{_safe(lead)}</p>')
    body.append("</header>")
    if len(sections) >= CONTENTS_FROM:
        links = "".join(f'<li><a href="#part-{n}">{_safe(s.heading)}</a></li>' for n, s in enumerate(sections, 1))
        body.append(f'<nav aria-label="Contents"><ul>{links}</ul></nav>')
    for number, section in enumerate(sections, 1):
        body.append(f'<section id="part-{number}">\n<h2>{_safe(section.heading)}</h2>')
        body += [f"<p>{_safe(paragraph)}</p>" for paragraph in section.paragraphs]
        if section.table is not None:
            body.append(_html_table(section.table))
        body += [_html_picture(path, alt) for path, alt in section.pictures]
        if section.runs:
            body.append(_html_runs(section.runs, listed))
        body.append("</section>")
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_safe(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(body) + "\n</body>\n</html>\n"


def _plain(text: str) -> str:
    """Return `text` as Markdown that shows exactly it, within a heading or a cell."""
    return _MARKDOWN_SPECIAL.sub(r"\\\1", html.escape(_flat(text), quote=False))


def _paragraph(text: str) -> str:
    # Without this a paragraph that opens with "1." or "-" would become a list.
    return _MARKDOWN_BLOCK.sub(r"\1\\\2", _plain(text))


def markdown_table(table: Table) -> str:
    """Return a table as GitHub Markdown, without a line break at its end."""
    rule = ["---:" if table.numeric(column) else "---" for column in range(len(table.header))]
    lines = [[_plain(name) for name in table.header], rule, *([_plain(cell) for cell in row] for row in table.rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_paragraph(table.caption)}\n\n{text}" if table.caption else text


def markdown(title: str, lead: str, sections: Sequence[Section], home: Path | None = None) -> str:
    """Return the same content as GitHub Markdown.

    Args:
        title: the first heading.
        lead: the paragraph under it, or nothing.
        sections: as for `page`.
        home: the folder of the Markdown file, under which the pictures lie; None: they lie beside it.
    """
    parts = [f"# {_plain(title)}"]
    if lead:
        parts.append(_paragraph(lead))
    for section in sections:
        parts.append(f"## {_plain(section.heading)}")
        parts += [_paragraph(paragraph) for paragraph in section.paragraphs]
        if section.table is not None:
            parts.append(markdown_table(section.table))
        for path, alt in section.pictures:
            seen = path.name if home is None else path.relative_to(home).as_posix()
            parts.append(f"![{_plain(alt)}]({quote(seen)})")
        if section.runs:
            named = [f"{label} {', '.join(starts)}".strip() for label, starts in section.runs.items()]
            parts.append(f"Runs: {_plain('; '.join(named))}.")
    return "\n\n".join(parts) + "\n"
