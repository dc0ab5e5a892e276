"""A page of text, tables and pictures as one file: no script, no link, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #555; --line: #ddd; --paper: #fff }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #aaa; --line: #444; --paper: #16181b }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin-bottom: 0; overflow-wrap: anywhere } h2 { font-size: 1.25rem; margin-top: 2.5rem }
p.lead { color: var(--soft); margin-top: .25rem; overflow-wrap: anywhere }
table { border-collapse: collapse; margin: 1rem 0; font-size: .92rem }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem }
th, td { border-bottom: 1px solid var(--line); padding: .3rem 1.2rem .3rem 0; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
figure { margin: 1.5rem 0 } figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px }
figcaption { color: var(--soft); font-size: .92rem } summary { cursor: pointer; font-weight: 600 }
@media print { body { max-width: none; margin: 0 } figure, tr { break-inside: avoid } h2 { break-after: avoid } }
"""


class Share(float):
    """A number that is read in percent."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a caption.

    Parameters
    ----------
    caption
        Says what the rows are.
    rows
        Each column -> value; numbers to four digits, shares in percent, None as a dash. All have the first row's
        columns.
    folded
        Shown when the reader opens it: for what a picture above says already.
    """

    caption: str
    rows: Sequence[Mapping[str, Any]]
    folded: bool = False

    @classmethod
    def of(cls, caption: str, facts: Mapping[str, Any]) -> Table:
        """Return a table of two columns."""
        return cls(caption=caption, rows=[{"what": name, "value": _text(value)} for name, value in facts.items()])

    def html(self) -> str:
        """Return the table's element."""
        if not self.rows:
            return f"<p>{escape(self.caption)}: none.</p>"
        names = list(self.rows[0])
        head = "".join(f'<th scope="col"{self._kind(name)}>{escape(name)}</th>' for name in names)
        body = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in names)}</tr>\n" for row in self.rows)
        caption = "" if self.folded else f"<caption>{escape(self.caption)}</caption>\n"
        table = f"<table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>"
        if not self.folded:
            return table
        return f"<details><summary>{escape(self.caption)}</summary>\n{table}</details>"

    def _kind(self, name: str) -> str:
        """Return the attribute that puts a header above its column: numbers stand to the right."""
        values = [row.get(name) for row in self.rows if row.get(name) is not None]
        return ' class="number"' if values and all(map(_is_number, values)) else ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG and what it shows.

    Parameters
    ----------
    png
        The file's bytes.
    caption
        Stands below it.
    says
        What it shows, read out in its place; the caption when empty.
    """

    png: bytes
    caption: str
    says: str = ""

    def html(self) -> str:
        """Return the figure's element, the picture inside."""
        data, text = base64.b64encode(self.png).decode(), escape(self.caption)
        told = escape(self.says or self.caption, quote=True)
        return (
            f'<figure><img src="data:image/png;base64,{data}" alt="{told}"><figcaption>{text}</figcaption></figure>'
        )


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it.

    Parameters
    ----------
    title
        The heading.
    parts
        Tables, pictures, and text as paragraphs, in order.
    """

    title: str
    parts: Sequence[Table | Picture | str]

    def html(self) -> str:
        """Return the section's element."""
        parts = (f"<p>{escape(part)}</p>" if isinstance(part, str) else part.html() for part in self.parts)
        return "\n".join((f"<section>\n<h2>{escape(self.title)}</h2>", *parts, "</section>"))


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return a whole HTML document; all text is escaped."""
    body = "\n".join(section.html() for section in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n{body}\n</body>\n</html>\n'
    )


def _cell(value: Any) -> str:
    if value is None:
        return "<td>-</td>"
    kind = ' class="number"' if _is_number(value) else ""
    return f"<td{kind}>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if not _is_number(value):
        return str(value)
    if isinstance(value, Share):
        return f"{100 * value:.1f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
